/** What the server answers with, for the tests of the models. */
import type { Message } from '../../../src/client/types.ts';

export const C1 = '0190a000-0000-7000-8000-000000000001';
export const TURN = { turn_id: 't1', message_id: 'm1', conversation_id: C1 };
export const usage = { prompt_tokens: 1, completion_tokens: 1, cost: 0 };

export const question: Message = {
  id: 'm1',
  role: 'user',
  content: 'Why?',
  sources: [],
  turn_id: 't1',
  parent_id: null,
  rating: null,
  created_at: '2026-01-01T00:00:00Z',
};

/** The state of the question's turn. */
export const turnIn = (status: string, own: object = {}) => ({
  id: 't1',
  conversation_id: C1,
  message_id: 'm1',
  status,
  attempt: 1,
  text: 'Be',
  sources: [],
  usage,
  error: null,
  ...own,
});

export const documentIn = (status: string, own: object = {}) => ({
  id: 'd1',
  title: 'Notes',
  filename: 'notes.md',
  media_type: 'text/markdown',
  size: 5,
  sha256: '',
  source_type: 'upload',
  visibility: 'tenant',
  metadata: {},
  status,
  pages: null,
  chunks: null,
  task_id: 'k1',
  error: null,
  created_at: '2026-01-01T00:00:00Z',
  ...own,
});
