/**
 * What is told to clients: topics and the events in them. `task:{id}` and `turn:{id}` are logs (numbered from 1, kept,
 * resumable); `conversation:{id}`, `user` and `tenant` are hints that name what changed.
 */
export type LogTopic = `task:${string}` | `turn:${string}`;
export type HintTopic = `conversation:${string}` | 'user' | 'tenant';
export type Topic = LogTopic | HintTopic;

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  /** In US dollars; 0 where no price is known. */
  cost: number;
}

/**
 * What has become of the text that a source counts in: searches still show it; a newer version is shown in its place, and it
 * is kept; it is not kept any more; its document was deleted.
 */
export const SOURCE_STATES = ['current', 'replaced', 'unavailable', 'deleted'] as const;
export type SourceState = (typeof SOURCE_STATES)[number];

/** A place in a document that an answer rests on. `start`/`end`: UTF-16 offsets of `quote` in the text of this version of it. */
export interface Source {
  n: number;
  document_id: string;
  chunk_id: string;
  /** Null where the chunk had gone before versions were written down. */
  version: number | null;
  title: string;
  page: number | null;
  start: number;
  end: number;
  quote: string;
  /** The quote stands word for word in the stored chunk. */
  verified: boolean;
  /** When this was read. */
  state: SourceState;
}

export interface TaskProgress {
  task_id: string;
  document_id: string | null;
  status: string;
  stage: string | null;
  /** 0…1, never falling within one attempt. */
  progress: number;
  chunks_done: number;
  chunks_total: number | null;
  attempt: number;
  /** Why the last attempt failed, while the task waits for another one. */
  error?: { code: string; message: string } | null;
}

export interface EventData {
  'task.queued': TaskProgress;
  'task.progress': TaskProgress;
  'task.succeeded': TaskProgress;
  'task.failed': TaskProgress & { error: { code: string; message: string } };
  'task.cancelled': TaskProgress;
  'task.dead': TaskProgress & { error: { code: string; message: string } };
  'turn.queued': { turn_id: string; conversation_id: string; message_id: string };
  'turn.started': { attempt: number; turn_id: string };
  'turn.sources': { sources: Source[] };
  'turn.delta': { text: string };
  'turn.completed': { message_id: string; text: string; sources: Source[]; usage: Usage };
  'turn.failed': { code: string; message: string; retryable: boolean };
  'turn.cancelled': { text: string };
  'conversation.updated': { conversation_id: string; title: string | null; message_count: number };
  'document.uploaded': DocumentHint;
  'document.ready': DocumentHint;
  'document.failed': DocumentHint & { error: { code: string; message: string } };
  'document.quarantined': DocumentHint;
  'document.deleted': DocumentHint;
  /** On the topic `tenant`: what of the tenant's is unfinished. */
  'tenant.counts': { tasks: number; task_bytes: number; turns: number };
}

export interface DocumentHint {
  document_id: string;
  task_id: string | null;
  title: string;
}

export type EventType = keyof EventData;
export type EventOf<T extends EventType = EventType> = { [K in T]: { type: K; data: EventData[K] } }[T];

/** After one of these a log's topic gets no further event of that attempt. */
export const FINAL_EVENTS: ReadonlySet<EventType> = new Set<EventType>([
  'task.succeeded',
  'task.failed',
  'task.cancelled',
  'task.dead',
  'turn.completed',
  'turn.failed',
  'turn.cancelled',
]);

/** An event as it stands on the wire. `seq` counts from 1 in a log topic, and per connection in a hint topic. */
export interface EventFrame<T extends EventType = EventType> {
  type: T;
  topic: string;
  epoch: string;
  seq: number;
  /** RFC 3339. */
  ts: string;
  data: EventData[T];
}
