/**
 * Who listens to what, and how far they are. The socket carries each topic once; every subscription keeps a position of
 * its own. For a log topic (`task:`, `turn:`) the position is seq and epoch: a frame is handed on only when it is the
 * very next one, repeats are dropped, and a gap asks the server again from the position. Hint topics are handed on as
 * they come.
 *
 * A topic's states on a socket: unasked, asking (a `subscribe` is unanswered), live. A cut makes all of them unasked.
 */
import type { ClientFrame, EventFrame, EventType, ResetFrame, Topic } from '../contracts/index.ts';
import type { ClientClock } from './clock.ts';
import { ClientError } from './errors.ts';

/** The events that a topic can carry, told apart by `type`. */
export type TopicEvent<T extends Topic = Topic> = T extends `task:${string}`
  ? FrameOf<Extract<EventType, `task.${string}`>>
  : T extends `turn:${string}`
    ? FrameOf<Extract<EventType, `turn.${string}`>>
    : FrameOf<EventType>;
type FrameOf<K extends EventType> = { [T in K]: EventFrame<T> }[K];

export interface TopicHandler<T extends Topic = Topic> {
  event(frame: TopicEvent<T>): void;
  /** The log could not be continued: `frame.snapshot` is the whole state, later events go on from it. */
  reset?(frame: ResetFrame): void;
  /** A hint topic is live again after a cut: hints may have been missed, so read the state anew. */
  missed?(): void;
  /** The server refuses the topic; the subscription is over. */
  failed?(error: ClientError): void;
}

export interface Position {
  /** The last event that was handed on; `undefined` before the first. */
  seq: number | undefined;
  epoch: string | undefined;
}

export interface Subscription {
  readonly topic: Topic;
  position(): Position;
  unsubscribe(): void;
}

export interface TopicsOptions {
  /** Sends a frame; does nothing while there is no open socket. */
  send(frame: ClientFrame): void;
  isOpen(): boolean;
  nextId(): string;
  clock: ClientClock;
  /** After this long without an answer a `subscribe` is sent again. */
  ackTimeoutMs: number;
}

export interface Topics {
  add<T extends Topic>(topic: T, handler: TopicHandler<T>, from: Position): Subscription;
  /** The server has subscribed this connection to the topic by itself, from its first event on. */
  adopt<T extends Topic>(topic: T, handler: TopicHandler<T>): Subscription;
  /** True when the answer belonged to a `subscribe`. */
  answered(id: string | number, error: ClientError | undefined): boolean;
  /** True when somebody listens to the frame's topic. */
  deliver(frame: EventFrame | ResetFrame): boolean;
  opened(): void;
  cut(): void;
  clear(): void;
}

/** Refusals that may pass; any other ends the subscription. */
const PASSING: ReadonlySet<string> = new Set(['rate_limited', 'unavailable', 'internal']);
const RETRY_MS = 2_000;

interface Listener {
  handler: TopicHandler;
  position: Position;
}

interface TopicState {
  topic: Topic;
  listeners: Set<Listener>;
  phase: 'unasked' | 'asking' | 'live';
  /** The unanswered `subscribe`. */
  requestId: string | undefined;
  /** It was live on an earlier socket. */
  wasLive: boolean;
  cancelTimer: () => void;
}

export function createTopics({ send, isOpen, nextId, clock, ackTimeoutMs }: TopicsOptions): Topics {
  const topics = new Map<string, TopicState>();
  const asked = new Map<string, TopicState>();

  function stateOf(topic: Topic): TopicState {
    const known = topics.get(topic);
    if (known) return known;
    const state: TopicState = {
      topic,
      listeners: new Set(),
      phase: 'unasked',
      requestId: undefined,
      wasLive: false,
      cancelTimer: () => {},
    };
    topics.set(topic, state);
    return state;
  }

  function forgetRequest(state: TopicState): void {
    state.cancelTimer();
    state.cancelTimer = () => {};
    if (state.requestId !== undefined) asked.delete(state.requestId);
    state.requestId = undefined;
  }

  /** Asks for the topic from the position of the listener that is furthest behind. */
  function ask(state: TopicState): void {
    if (!isOpen()) return;
    forgetRequest(state);
    // What the server sends twice is dropped by seq; what it would skip for being subscribed already is lost.
    if (state.phase !== 'unasked') send({ type: 'unsubscribe', topic: state.topic });
    const id = nextId();
    const from = isLog(state.topic) ? furthestBehind(state.listeners) : undefined;
    state.phase = 'asking';
    state.requestId = id;
    asked.set(id, state);
    state.cancelTimer = clock.after(ackTimeoutMs, () => ask(state));
    send({
      type: 'subscribe',
      id,
      topic: state.topic,
      ...(from?.seq !== undefined && { after: from.seq }),
      ...(from?.epoch !== undefined && { epoch: from.epoch }),
    });
  }

  function drop(state: TopicState): void {
    forgetRequest(state);
    topics.delete(state.topic);
  }

  function listen(state: TopicState, handler: TopicHandler, position: Position): Subscription {
    const listener: Listener = { handler, position };
    state.listeners.add(listener);
    return {
      topic: state.topic,
      position: () => ({ ...listener.position }),
      unsubscribe() {
        if (!state.listeners.delete(listener) || state.listeners.size > 0 || topics.get(state.topic) !== state) return;
        if (state.phase !== 'unasked') send({ type: 'unsubscribe', topic: state.topic });
        drop(state);
      },
    };
  }

  function refuse(state: TopicState, error: ClientError): void {
    drop(state);
    for (const { handler } of [...state.listeners]) handler.failed?.(error);
  }

  function deliverEvent(state: TopicState, listener: Listener, frame: EventFrame): void {
    const { position, handler } = listener;
    if (isLog(state.topic)) {
      const sameLife = position.epoch === undefined || position.epoch === frame.epoch;
      if (sameLife && position.seq !== undefined && frame.seq <= position.seq) return;
      if (!sameLife || (position.seq !== undefined && frame.seq !== position.seq + 1)) {
        if (state.phase === 'live') ask(state);
        return;
      }
      listener.position = { seq: frame.seq, epoch: frame.epoch };
    }
    handler.event(frame as TopicEvent);
  }

  function deliverReset(listener: Listener, frame: ResetFrame): void {
    const { position } = listener;
    if (position.epoch === frame.epoch && position.seq !== undefined && position.seq > frame.seq) return;
    listener.position = { seq: frame.seq, epoch: frame.epoch };
    listener.handler.reset?.(frame);
  }

  return {
    add(topic, handler, from) {
      const state = stateOf(topic);
      const subscription = listen(state, handler as TopicHandler, { ...from });
      // A newcomer to a live hint topic has missed nothing; to a log it may start further back.
      if (state.phase !== 'live' || isLog(topic)) ask(state);
      return subscription;
    },
    adopt(topic, handler) {
      const state = stateOf(topic);
      if (state.phase === 'unasked') state.phase = 'live';
      return listen(state, handler as TopicHandler, { seq: 0, epoch: undefined });
    },
    answered(id, error) {
      const state = asked.get(String(id));
      if (!state) return false;
      forgetRequest(state);
      if (error && PASSING.has(error.code)) {
        state.phase = 'unasked';
        state.cancelTimer = clock.after(error.retryAfterMs ?? RETRY_MS, () => ask(state));
      } else if (error) {
        refuse(state, error);
      } else {
        state.phase = 'live';
        const resumed = state.wasLive;
        state.wasLive = true;
        if (resumed && !isLog(state.topic)) for (const { handler } of [...state.listeners]) handler.missed?.();
      }
      return true;
    },
    deliver(frame) {
      const state = topics.get(frame.topic);
      if (!state) return false;
      for (const listener of [...state.listeners]) {
        if (frame.type === 'reset') deliverReset(listener, frame);
        else deliverEvent(state, listener, frame);
      }
      return true;
    },
    opened() {
      for (const state of topics.values()) ask(state);
    },
    cut() {
      for (const state of topics.values()) {
        forgetRequest(state);
        state.phase = 'unasked';
      }
    },
    clear() {
      const closed = new ClientError('closed', 'The connection was closed.');
      for (const state of [...topics.values()]) refuse(state, closed);
    },
  };
}

function isLog(topic: string): boolean {
  return topic.startsWith('task:') || topic.startsWith('turn:');
}

function furthestBehind(listeners: Iterable<Listener>): Position | undefined {
  let found: Position | undefined;
  for (const { position } of listeners) {
    if (found === undefined || (position.seq ?? -1) < (found.seq ?? -1)) found = position;
  }
  return found;
}
