/**
 * The socket that stays. States: idle (nothing asked yet), connecting (ticket, dial, `hello`), open, waiting (for the
 * next try), signed-out (the session is over, somebody has to log in), closed. The last two are final.
 *
 * A cut is healed without anybody noticing: after a wait with full jitter a new ticket is taken, log topics go on from
 * their last number, and requests that were not acknowledged are sent again (they are idempotent: `chat.send` by its
 * client message id). A request lives until its own deadline, over as many sockets as that takes.
 */
import type {
  AckFrame,
  ChatSendFrame,
  CLOSE_CODES,
  ClientFrame,
  EventFrame,
  HelloFrame,
  IfBusy,
  ResetFrame,
  ServerFrame,
  Topic,
} from '../contracts/index.ts';
import { fullJitter } from './backoff.ts';
import type { ClientClock } from './clock.ts';
import type { Codec } from './codec.ts';
import { ClientError, isSignedOut } from './errors.ts';
import { type Link, type LinkEnd, openLink, type SocketFactory } from './link.ts';
import type { Session } from './session.ts';
import { createTopics, type Position, type Subscription, type TopicHandler } from './topics.ts';
import type { TurnNames } from './types.ts';

export type RealtimeState = 'idle' | 'connecting' | 'open' | 'waiting' | 'signed-out' | 'closed';

export interface SendChatRequest {
  conversation_id?: string;
  content: string;
  /** Makes sending it again harmless; chosen when absent. */
  client_message_id?: string;
  model?: string;
  filter?: Record<string, unknown>;
  /** While another turn of the conversation is unfinished: wait (default), stop it, or fail with `conflict`. */
  if_busy?: IfBusy;
}

export interface Realtime {
  state(): RealtimeState;
  onState(listener: (state: RealtimeState) => void): () => void;
  /** Errors that answer no request of ours. */
  onError(listener: (error: ClientError) => void): () => void;
  /** Connects now; every other call does so by itself when it needs to. */
  connect(): void;
  /** Ends a wait: the network is back, or somebody is looking. */
  nudge(): void;
  /** Listens to a topic, from its start or after a known position, until unsubscribed, over any number of cuts. */
  subscribe<T extends Topic>(
    topic: T,
    handler: TopicHandler<T>,
    from?: { after?: number; epoch?: string },
  ): Subscription;
  /** Sends a message; the events of its turn go to `handler` when one is given. */
  sendChat(
    request: SendChatRequest,
    handler?: TopicHandler<`turn:${string}`>,
  ): Promise<TurnNames & { subscription?: Subscription }>;
  cancelTurn(turnId: string): Promise<void>;
  close(): void;
}

export interface RealtimeOptions {
  /** `ws://…/ws`, without the ticket. */
  url: string;
  session: Session;
  /** A new single-use ticket. */
  ticket(): Promise<string>;
  socket: SocketFactory;
  codec: Codec;
  clock: ClientClock;
  random(): number;
  uuid(): string;
  ackTimeoutMs?: number;
  helloTimeoutMs?: number;
  backoffBaseMs?: number;
  backoffCapMs?: number;
}

interface Pending {
  frame: ClientFrame & { id: string };
  resolve(ack: AckFrame): void;
  reject(error: ClientError): void;
  cancelTimer(): void;
}

const CODES = { going_away: 1001, session_ended: 4401, too_many: 4429 } as const satisfies Partial<typeof CLOSE_CODES>;

/** A link that lived this long was a success; shorter ones count as failed tries, or a flapping server is hammered. */
const STABLE_MS = 5_000;
/** Told to slow down, we wait at least this long. */
const TOO_MANY_FLOOR_MS = 5_000;
/** Told when to come back, we do not wait longer than this. */
const MAX_TOLD_MS = 60_000;
/** So many refusals of fresh tokens in a row mean that no token will do. */
const MAX_SESSION_ENDS = 3;
/** Events of a turn that come before the acknowledgement that names it. */
const MAX_EARLY = 512;

export function createRealtime(options: RealtimeOptions): Realtime {
  const { clock, random, session } = options;
  const ackTimeoutMs = options.ackTimeoutMs ?? 10_000;
  const backoff = { baseMs: options.backoffBaseMs ?? 500, capMs: options.backoffCapMs ?? 30_000, random };

  let state: RealtimeState = 'idle';
  let link: Link | undefined;
  let attempt = 0;
  let sessionEnds = 0;
  let requestCount = 0;
  let cancelWait = () => {};
  let cancelRenewal = () => {};
  let socketToken: string | undefined;
  const pending = new Map<string, Pending>();
  const early: (EventFrame | ResetFrame)[] = [];
  const stateListeners = new Set<(state: RealtimeState) => void>();
  const errorListeners = new Set<(error: ClientError) => void>();

  const nextId = () => String(++requestCount);
  const isOpen = () => state === 'open';
  const isFinal = () => state === 'closed' || state === 'signed-out';
  const topics = createTopics({ send: (frame) => link?.send(frame), isOpen, nextId, clock, ackTimeoutMs });

  function enter(next: RealtimeState): void {
    if (state === next) return;
    state = next;
    for (const listener of [...stateListeners]) listener(next);
  }

  async function dial(): Promise<void> {
    enter('connecting');
    let ticket: string;
    let token: string | undefined;
    try {
      token = await session.token();
      ticket = await options.ticket();
    } catch (error) {
      if (state !== 'connecting') return;
      if (isSignedOut(error)) return finish('signed-out');
      return wait(error instanceof ClientError ? error.retryAfterMs : undefined);
    }
    if (state !== 'connecting') return;
    socketToken = session.current()?.access_token ?? token;
    link = openLink({
      url: `${options.url}?ticket=${encodeURIComponent(ticket)}`,
      codec: options.codec,
      socket: options.socket,
      clock,
      helloTimeoutMs: options.helloTimeoutMs ?? 10_000,
      opened,
      frame: received,
      ended,
    });
  }

  function connect(): void {
    if (state === 'idle') void dial();
  }

  function wait(atLeastMs = 0): void {
    enter('waiting');
    const delay = atLeastMs + fullJitter(attempt, backoff);
    attempt += 1;
    cancelWait = clock.after(delay, () => void dial());
  }

  function opened(_hello: HelloFrame): void {
    enter('open');
    topics.opened();
    for (const { frame } of pending.values()) link?.send(frame);
    scheduleRenewal();
  }

  function ended({ code, reason, openMs }: LinkEnd): void {
    link = undefined;
    cancelRenewal();
    topics.cut();
    early.length = 0;
    if (openMs >= STABLE_MS) {
      attempt = 0;
      sessionEnds = 0;
    }
    if (code === CODES.session_ended) return void sessionEnded();
    if (code === CODES.going_away) comeBack(reason);
    else wait(code === CODES.too_many ? TOO_MANY_FLOOR_MS : 0);
  }

  /** A node that goes away says when each of its clients may come back, so that they don't come all at once. */
  function comeBack(reason: string): void {
    const told = Number(/^reconnect_after_ms=(\d{1,9})$/.exec(reason)?.[1] ?? Number.NaN);
    if (Number.isNaN(told)) {
      wait();
      return;
    }
    enter('waiting');
    cancelWait = clock.after(Math.min(told, MAX_TOLD_MS), () => void dial());
  }

  /** The server no longer takes the token that this socket was opened with: try again with a new one. */
  async function sessionEnded(): Promise<void> {
    sessionEnds += 1;
    if (sessionEnds > MAX_SESSION_ENDS) return finish('signed-out');
    enter('waiting');
    try {
      await session.renew(socketToken ?? '');
    } catch (error) {
      if (state !== 'waiting') return;
      return isSignedOut(error) ? finish('signed-out') : wait();
    }
    if (state !== 'waiting') return;
    if (sessionEnds > 1) wait();
    else void dial();
  }

  /** Renews the token before it ends, so that the socket need not be cut for it. */
  function scheduleRenewal(): void {
    cancelRenewal();
    const current = session.current();
    if (!current) return;
    const left = current.expires_at - clock.now();
    cancelRenewal = clock.after(Math.max(1_000, left - Math.min(30_000, current.lifetime_ms / 2)), () => {
      // A failure is not the end: the server closes with 4401 when the token is over, and that path tries again.
      session.renew(current.access_token).catch(() => {});
    });
  }

  const unwatch = session.onChange((current) => {
    if (!current) return finish('signed-out');
    if (!isOpen() || current.access_token === socketToken) return;
    socketToken = current.access_token;
    link?.send({ type: 'auth.refresh', token: current.access_token });
    scheduleRenewal();
  });

  function received(frame: Exclude<ServerFrame, HelloFrame>): void {
    switch (frame.type) {
      case 'pong':
        return;
      case 'ack':
        if (frame.id !== undefined && !topics.answered(frame.id, undefined)) settle(frame.id, frame);
        return;
      case 'error': {
        const error = new ClientError(frame.code, frame.message, { retryAfterMs: frame.retry_after_ms });
        if (frame.id !== undefined && (topics.answered(frame.id, error) || settle(frame.id, error))) return;
        for (const listener of [...errorListeners]) listener(error);
        return;
      }
      default:
        // The acknowledgement of a `chat.send` names the turn; an event that overtakes it is kept for a moment.
        if (!topics.deliver(frame) && pending.size > 0 && early.length < MAX_EARLY) early.push(frame);
    }
  }

  function settle(id: string | number, outcome: AckFrame | ClientError): boolean {
    const request = pending.get(String(id));
    if (!request) return false;
    pending.delete(String(id));
    request.cancelTimer();
    if (outcome instanceof ClientError) request.reject(outcome);
    else request.resolve(outcome);
    if (pending.size === 0) early.length = 0;
    return true;
  }

  /** `acked` runs before any later frame is looked at. */
  function request<T>(frame: ClientFrame, acked: (ack: AckFrame) => T): Promise<T> {
    if (isFinal()) return Promise.reject(closedError());
    connect();
    return new Promise((resolve, reject) => {
      const id = nextId();
      const entry: Pending = {
        frame: { ...frame, id },
        resolve(ack) {
          try {
            resolve(acked(ack));
          } catch (error) {
            reject(error);
          }
        },
        reject,
        cancelTimer: clock.after(ackTimeoutMs, () =>
          settle(id, new ClientError('timeout', 'The server did not answer in time.')),
        ),
      };
      pending.set(id, entry);
      if (isOpen()) link?.send(entry.frame);
    });
  }

  function finish(last: 'signed-out' | 'closed'): void {
    if (isFinal()) return;
    unwatch();
    cancelWait();
    cancelRenewal();
    link?.close();
    link = undefined;
    enter(last);
    topics.clear();
    for (const id of [...pending.keys()]) settle(id, closedError());
  }

  function closedError(): ClientError {
    return state === 'signed-out'
      ? new ClientError('unauthenticated', 'The session is over.', { status: 401 })
      : new ClientError('closed', 'The connection was closed.');
  }

  return {
    state: () => state,
    onState(listener) {
      stateListeners.add(listener);
      return () => stateListeners.delete(listener);
    },
    onError(listener) {
      errorListeners.add(listener);
      return () => errorListeners.delete(listener);
    },
    connect,
    nudge() {
      if (state !== 'waiting' && state !== 'idle') return;
      cancelWait();
      void dial();
    },
    subscribe(topic, handler, from = {}) {
      if (isFinal()) throw closedError();
      connect();
      const position: Position = { seq: from.after, epoch: from.epoch };
      return topics.add(topic, handler, position);
    },
    sendChat(message, handler) {
      const frame: ChatSendFrame = {
        type: 'chat.send',
        ...message,
        client_message_id: message.client_message_id ?? options.uuid(),
      };
      return request(frame, (ack) => {
        const names = turnNames(ack);
        if (!handler) return names;
        const subscription = topics.adopt(`turn:${names.turn_id}`, handler);
        for (const waiting of early.splice(0)) {
          if (!topics.deliver(waiting)) early.push(waiting);
        }
        return { ...names, subscription };
      });
    },
    cancelTurn: (turnId) => request({ type: 'chat.cancel', turn_id: turnId }, () => undefined),
    close: () => finish('closed'),
  };
}

function turnNames({ turn_id, message_id, conversation_id }: AckFrame): TurnNames {
  if (turn_id === undefined || message_id === undefined || conversation_id === undefined) {
    throw new ClientError('invalid_response', 'The acknowledgement does not name the turn.');
  }
  return { turn_id, message_id, conversation_id };
}
