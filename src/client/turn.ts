/** Folds the events of a turn into what a reader shows: always the text of the last attempt. */
import type { ResetFrame, Source, Usage } from '../contracts/index.ts';
import type { TopicEvent } from './topics.ts';
import type { Turn, TurnStatus } from './types.ts';

export interface TurnView {
  status: TurnStatus;
  attempt: number;
  text: string;
  sources: Source[];
  usage: Usage | null;
  error: { code: string; message: string } | null;
  /** The stored answer, once there is one. */
  messageId: string | null;
}

export const newTurn: TurnView = {
  status: 'queued',
  attempt: 0,
  text: '',
  sources: [],
  usage: null,
  error: null,
  messageId: null,
};

export function isTurnOver({ status }: { status: TurnStatus }): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled';
}

export function applyTurnEvent(view: TurnView, event: TopicEvent<`turn:${string}`>): TurnView {
  switch (event.type) {
    case 'turn.queued':
      return { ...view, status: 'queued' };
    case 'turn.started':
      return { ...newTurn, status: 'running', attempt: event.data.attempt };
    case 'turn.sources':
      return { ...view, sources: event.data.sources };
    case 'turn.delta':
      return { ...view, status: 'running', text: view.text + event.data.text };
    case 'turn.completed': {
      const { text, sources, usage, message_id } = event.data;
      return { ...view, status: 'completed', text, sources, usage, error: null, messageId: message_id };
    }
    case 'turn.failed':
      return { ...view, status: 'failed', error: { code: event.data.code, message: event.data.message } };
    case 'turn.cancelled':
      return { ...view, status: 'cancelled', text: event.data.text };
    default:
      return view;
  }
}

/** The view after a `reset`: its snapshot has the fields of `GET /turns/{id}`. */
export function applyTurnReset(view: TurnView, { snapshot }: ResetFrame): TurnView {
  return { ...view, ...viewOfTurn(snapshot) };
}

export function viewOfTurn(turn: Partial<Turn>): Partial<TurnView> {
  return {
    ...(turn.status !== undefined && { status: turn.status }),
    ...(turn.attempt !== undefined && { attempt: turn.attempt }),
    ...(turn.text !== undefined && { text: turn.text }),
    ...(turn.sources !== undefined && { sources: turn.sources }),
    ...(turn.usage !== undefined && { usage: turn.usage }),
    ...(turn.error !== undefined && { error: turn.error }),
  };
}
