/**
 * The state that a log tells, event by event. It is laid over the snapshot from the database when a reader cannot be
 * continued: the row may be ahead of the log or behind it, and events after the reset must fit the text before it.
 */
import { type EventData, type EventType, FINAL_EVENTS } from '../contracts/index.ts';
import { type LogEntry, type LogPage, PAGE_EVENTS } from './log-reader.ts';

type LogState = Record<string, unknown>;

type Known = { [T in EventType]: { type: T; data: EventData[T] } }[EventType];

/** Begins with what was trimmed. `null`: the beginning is missing and was not folded, so the log says nothing whole. */
function startState(page: LogPage): LogState | null {
  if (page.base && page.base.seq + 1 === page.first) {
    return { attempt: page.attempt, text: page.base.text, sources: page.base.sources };
  }
  return page.first === 1 ? {} : null;
}

function foldEvent(state: LogState | null, entry: LogEntry): LogState | null {
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

export interface WholeLog {
  epoch: string;
  /** The last event that is part of the state. */
  seq: number;
  attempt: number;
  state: LogState | null;
}

/**
 * Folds what is kept of a log, page by page; `null` where there is none, or it became another one than `of` on the way. A
 * final event at its end is left to be delivered, so that whoever waits for it sees it.
 */
export async function foldLog(read: (after: number) => Promise<LogPage | null>, of?: string): Promise<WholeLog | null> {
  let whole: WholeLog | undefined;
  let before = whole;
  for (;;) {
    const page = await read(whole?.seq ?? 0);
    if (!page || (of ?? whole?.epoch ?? page.epoch) !== page.epoch) return null;
    if (whole && page.first > whole.seq + 1) return null;
    const { epoch, attempt } = page;
    whole ??= { epoch, attempt, seq: page.first - 1, state: startState(page) };
    for (const event of page.events) {
      if (event.seq !== whole.seq + 1) continue;
      before = FINAL_EVENTS.has(event.type) ? whole : undefined;
      whole = { epoch, attempt, seq: event.seq, state: foldEvent(whole.state, event) };
    }
    if (page.events.length < PAGE_EVENTS) return before ?? whole;
  }
}

/** As a row says it, or a snapshot of it. */
export function hasEnded({ status }: { readonly status?: unknown }): boolean {
  return status !== undefined && status !== 'queued' && status !== 'running';
}
