/** Ports of the realtime layer: writing to a topic's log, and reading topics through the hub of this node. */
import type { EventOf, EventType, HintTopic, LogTopic } from './events.ts';
import type { Role } from './principal.ts';

export interface LogAppend {
  topic: LogTopic;
  /**
   * Fencing number of the writer. The log remembers the highest it saw; a lower one appends nothing. Events that no
   * attempt owns (`task.queued`, a cancel by the user) are written with the row's current attempt.
   */
  attempt: number;
  event: EventOf;
  /**
   * Who may read the log: its user, or the whole tenant. Default: `user` for `turn:`, `tenant` for `task:`. Once `user`
   * it stays so. Everything about a private document says `user`.
   */
  audience?: 'user' | 'tenant';
  /**
   * What the attempt has told so far, asked for only when the log is gone: these events then come first in a new log, so
   * that its readers are never left with a part. `delta-writer.ts` gives it for text.
   */
  restore?: () => readonly EventOf[];
  /** Begins a new log even if there is one: for a writer that cannot know whether its last append arrived. */
  rebuild?: boolean;
}

/** Tenant and user of every topic come from the ambient scope. */
export interface EventPublisher {
  /**
   * Appends events, in order, to their topics' logs and tells every node: one script per partition. Resolves to `false`
   * for an append that a newer attempt has fenced off, or that comes after the final event of its own. Rejects with
   * `unavailable` when Redis did not answer for some seconds; whether the events are there is then unknown.
   */
  append(appends: readonly LogAppend[]): Promise<boolean[]>;
  /**
   * Tells readers of a hint topic what changed; nothing is kept, and nothing is thrown when it cannot be told. `user` is
   * the user of the scope, and so is the owner of a `conversation:`.
   */
  hint(topic: HintTopic, event: EventOf): Promise<void>;
}

/** An event ready to be sent: parsed once, and its JSON text as it was published, so that no reader encodes it again. */
export interface HubEvent {
  topic: string;
  epoch: string;
  seq: number;
  type: EventType;
  json: string;
}

/**
 * Sockets that the runtime can tell at once: those of one protocol on this node. What a room is told and what a member is
 * handed by itself reach it in the order of the calls.
 */
export interface Crowd {
  tell(room: string, event: HubEvent, members: number): void;
}

/** A reader's place in the rooms of its crowd. */
export interface CrowdSeat {
  readonly crowd: Crowd;
  enter(room: string): void;
  leave(room: string): void;
  /** Looks how much waits for this reader; false when that is too much to be told together with others. */
  keepsUp(): boolean;
}

export interface TopicReader {
  /** Called in order of `seq`, without gap or repeat in a log topic. */
  event(event: HubEvent): void;
  /** The log cannot be continued from where the reader was: here is the whole state; `seq` goes on from it. */
  reset(reset: { topic: string; epoch: string; seq: number; snapshot: Record<string, unknown> }): void;
  /**
   * `null` when the reader takes more; else it is fed nothing until the promise resolves, and then continues from the
   * log. Only log topics ask. Absent: always.
   */
  ready?(): Promise<void> | null;
  /** Where the reader may be told together with others of its kind, instead of by `event`. Only log topics do. */
  readonly seat?: CrowdSeat;
  /** Nothing more comes: this node goes away, or the topic is not there any more, or not for this reader. */
  over?(): void;
}

export interface SubscribeOptions {
  /** The last `seq` the reader has; 0 or absent: from the start of what is kept. */
  after?: number | undefined;
  epoch?: string | undefined;
  /** The caller's role; only `tenant` asks for it. */
  role?: Role | undefined;
}

/** Reads topics for the sockets and SSE responses of this node. The topic's tenant is the scope's. */
export interface Hub {
  /** Throws `not_found` for a topic that does not exist or belongs to somebody else. Returns the unsubscriber. */
  subscribe(topic: string, reader: TopicReader, options?: SubscribeOptions): Promise<() => void>;
}
