/**
 * The state that a log tells, event by event. It is laid over the snapshot from the database when a reader cannot be
 * continued: the row may be ahead of the log or behind it, and events after the reset must fit the text before it.
 */
import type { EventData, EventType } from '../contracts/index.ts';
import type { LogEntry, LogPage } from './log-reader.ts';

export type LogState = Record<string, unknown>;

type Known = { [T in EventType]: { type: T; data: EventData[T] } }[EventType];

/** Begins with what was trimmed. `null`: the beginning is missing and was not folded, so the log says nothing whole. */
export function startState(page: LogPage): LogState | null {
  if (page.base && page.base.seq + 1 === page.first) {
    return { attempt: page.attempt, text: page.base.text, sources: page.base.sources };
  }
  return page.first === 1 ? {} : null;
}

export function foldEvent(state: LogState | null, entry: LogEntry): LogState | null {
  const event = { type: entry.type, data: JSON.parse(entry.data) } as Known;
  switch (event.type) {
    case 'turn.queued':
      return { status: 'queued', text: '', sources: [], error: null };
    case 'turn.started':
      return { status: 'running', attempt: event.data.attempt, text: '', sources: [], error: null };
    case 'turn.sources':
      // Told before the text: a log that was lost and begins anew with them has all of it.
      return state && { text: '', ...state, sources: event.data.sources };
    case 'turn.delta':
      // A log that begins in mid-text has lost what came before.
      return typeof state?.['text'] === 'string'
        ? { ...state, status: 'running', text: state['text'] + event.data.text }
        : null;
    case 'turn.completed': {
      const { text, sources, usage } = event.data;
      return { ...state, status: 'completed', text, sources, usage, error: null };
    }
    case 'turn.failed':
      return { ...state, status: 'failed', error: { code: event.data.code, message: event.data.message } };
    case 'turn.cancelled':
      return { ...state, status: 'cancelled', text: event.data.text };
    default: {
      if (!event.type.startsWith('task.')) return state;
      const { task_id: _, ...progress } = event.data as EventData['task.progress'];
      return { error: null, ...progress };
    }
  }
}
