/**
 * One socket. States: new (upgraded, not yet open), open, closing (we have sent our close), closed. Frames of the client
 * are handled one after the other (the mailbox), each in the client's scope; every request is answered by exactly one
 * `ack`, `pong` or `error`. What is sent goes through the outbox, which is bounded.
 *
 * An instance is the `data` of Bun's socket, and its methods are Bun's handlers: Elysia passes them on as they are, so a
 * socket costs no closures and nothing of the request that opened it is kept.
 */
import type { ServerWebSocket } from 'bun';
import {
  CLOSE_CODES,
  FINAL_EVENTS,
  type Hub,
  type HubEvent,
  type Principal,
  type SearchFilter,
  type ServerFrame,
  type TopicReader,
} from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { newTraceId, runAs, runDetached } from '../kernel/context.ts';
import { AppError, messageOf, toAppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { assertMay, type Capability, may } from '../services/access.ts';
import type { Codec } from './codec.ts';
import type { SocketCrowd } from './crowd.ts';
import { type CheckedFrame, checkFrame, requestIdOf } from './frames.ts';
import { Outbox, type OutboxLimits } from './outbox.ts';
import type { ChatPort, PrincipalPort } from './ports.ts';
import { TokenBucket } from './rate-limit.ts';
import { SocketReader } from './reader.ts';
import type { Tally } from './tally.ts';

export interface ConnectionLimits extends OutboxLimits {
  heartbeatMs: number;
  maxFrameBytes: number;
  framesPerSecond: number;
  frameBurst: number;
  maxTopics: number;
}

/** What all connections of a node share. */
export interface ConnectionContext {
  hub: Hub;
  chat: ChatPort;
  principals: PrincipalPort;
  clock: Clock;
  logger: Logger;
  frames: { in: Tally; out: Tally };
  timeSome(event: HubEvent): void;
  limits: ConnectionLimits;
  /** Sends to all sockets of the node that have subscribed to a native topic. */
  broadcast(nativeTopic: string, frame: string | Uint8Array): void;
  /** The connection is open; false when the node will not have it, which has then closed it. */
  opened(connection: Connection): boolean;
  fellBehind(connection: Connection): void;
  closed(connection: Connection): void;
}

export type Socket = ServerWebSocket<unknown>;

/** Frames that may wait to be handled. */
const MAILBOX_FRAMES = 256;
/** Frames above the rate that are answered before the socket is closed. */
const MAX_REFUSALS = 100;
/** Malformed frames in a row that are answered before the socket is closed. */
const MAX_MALFORMED = 5;

/** What following a topic asks for; whose it is, PostgreSQL says. */
function capabilityFor(topic: string): Capability {
  if (topic === 'tenant') return 'manage';
  return topic.startsWith('turn:') || topic.startsWith('conversation:') ? 'chat' : 'read';
}

export class Connection {
  private socket: Socket | undefined;
  private outbox: Outbox | undefined;
  private state: 'new' | 'open' | 'closing' | 'closed' = 'new';
  /** What most sockets never need is made when they do: idle ones are many. */
  private mailbox: (string | Uint8Array)[] | undefined;
  private working = false;
  private malformed = 0;
  private refusals = 0;
  /** How many native topics the socket is subscribed to. */
  private rooms = 0;
  private rate: TokenBucket | undefined;
  private topics: Map<string, () => void> | undefined;
  /** When we sent our close, in milliseconds since the epoch. */
  closingAt = 0;

  constructor(
    readonly id: string,
    public principal: Principal,
    private readonly codec: Codec,
    readonly crowd: SocketCrowd,
    private readonly context: ConnectionContext,
    /** How many orders to end the node had heard when the credentials were looked at. */
    readonly provenAt = 0,
  ) {}

  // What Bun calls.

  open(socket: Socket): void {
    const { limits, clock } = this.context;
    this.socket = socket;
    this.outbox = new Outbox(socket, limits, clock);
    this.state = 'open';
    if (!this.context.opened(this)) return;
    this.send({
      type: 'hello',
      connection_id: this.id,
      user_id: this.principal.userId,
      tenant_id: this.principal.tenantId,
      heartbeat_ms: limits.heartbeatMs,
      max_frame_bytes: limits.maxFrameBytes,
    });
  }

  message(_socket: Socket, data: string | Uint8Array): void {
    if (this.state !== 'open') return;
    const { limits, frames, clock } = this.context;
    frames.in.inc();
    const bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.byteLength;
    this.rate ??= new TokenBucket(limits.framesPerSecond, limits.frameBurst, clock.now());
    this.mailbox ??= [];
    const waitMs = this.rate.take(clock.now());
    if (bytes > limits.maxFrameBytes) this.end(CLOSE_CODES.frame_too_large, 'frame too large');
    else if (this.mailbox.length >= MAILBOX_FRAMES) this.end(CLOSE_CODES.too_many, 'too many requests');
    else if (waitMs > 0) this.refuse(data, waitMs);
    else {
      this.mailbox.push(data);
      const { mailbox } = this;
      if (!this.working) void runDetached(() => this.work(mailbox));
    }
  }

  drain(): void {
    this.check();
  }

  close(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.leave();
    this.context.closed(this);
  }

  // What the node calls.

  get isOpen(): boolean {
    return this.state === 'open';
  }

  get waitingBytes(): number {
    return this.state === 'open' ? (this.outbox?.bytes ?? 0) : 0;
  }

  /** Looks after the outbox; false once there is nothing to look after. */
  check(): boolean {
    const { outbox } = this;
    if (this.state !== 'open' || !outbox) return false;
    if (!outbox.check()) this.end(CLOSE_CODES.too_slow, 'too slow');
    return this.state === 'open' && outbox.behind;
  }

  /** Cuts the socket without waiting for the client. */
  terminate(): void {
    this.socket?.terminate();
  }

  /** Says goodbye with a code of `CLOSE_CODES`; only the first one counts. */
  end(code: number, reason: string): void {
    if (this.state !== 'open') return;
    this.state = 'closing';
    this.closingAt = this.context.clock.now();
    this.leave();
    this.socket?.close(code, reason);
  }

  private leave(): void {
    if (this.mailbox) this.mailbox.length = 0;
    for (const stop of this.topics?.values() ?? []) stop();
    this.topics?.clear();
    this.outbox?.release();
  }

  // Sending.

  private send(frame: Parameters<Codec['encode']>[0]): void {
    this.sendEncoded(this.codec.encode(frame));
  }

  private sendEncoded(frame: string | Uint8Array): void {
    if (this.state !== 'open' || !this.outbox) return;
    this.context.frames.out.inc();
    if (!this.outbox.send(frame)) this.end(CLOSE_CODES.too_slow, 'too slow');
    else if (this.outbox.behind) this.context.fellBehind(this);
  }

  private sendError(id: string | number | undefined, error: AppError): void {
    this.send({
      type: 'error',
      ...(id !== undefined && { id }),
      code: error.code,
      message: error.message,
      ...(error.retryAfterMs !== undefined && { retry_after_ms: error.retryAfterMs }),
    });
  }

  private acknowledge(
    frame: CheckedFrame,
    more: Omit<Extract<ServerFrame, { type: 'ack' }>, 'type' | 'id'> = {},
  ): void {
    this.send({ type: 'ack', ...(frame.id !== undefined && { id: frame.id }), ...more });
  }

  // Receiving.

  private refuse(data: string | Uint8Array, retryAfterMs: number): void {
    this.refusals += 1;
    if (this.refusals > MAX_REFUSALS) {
      this.end(CLOSE_CODES.too_many, 'too many requests');
      return;
    }
    const frame = this.codec.decode(data);
    this.sendError(
      frame ? requestIdOf(frame) : undefined,
      new AppError('rate_limited', 'Too many requests.', { retryAfterMs }),
    );
  }

  private async work(mailbox: (string | Uint8Array)[]): Promise<void> {
    this.working = true;
    for (let data = mailbox.shift(); data !== undefined; data = mailbox.shift()) {
      if (this.principal.expiresAt <= this.context.clock.now()) {
        this.end(CLOSE_CODES.session_ended, 'token expired');
        break;
      }
      await this.handle(data);
    }
    this.working = false;
  }

  private async handle(data: string | Uint8Array): Promise<void> {
    const raw = this.codec.decode(data);
    const id = raw ? requestIdOf(raw) : undefined;
    let frame: CheckedFrame;
    try {
      if (!raw) throw new AppError('invalid_request', 'A frame is one map of this subprotocol.');
      frame = checkFrame(raw);
    } catch (error) {
      this.malformed += 1;
      this.sendError(id, toAppError(error));
      if (this.malformed >= MAX_MALFORMED) this.end(CLOSE_CODES.malformed, 'malformed frames');
      return;
    }
    this.malformed = 0;
    const { tenantId, userId } = this.principal;
    await runAs({ tenantId, userId, traceId: newTraceId() }, async () => {
      try {
        await this.answer(frame);
      } catch (error) {
        const known = toAppError(error);
        if (known.kind === 'internal') {
          this.context.logger.error({ err: known.cause ?? known, frame: frame.type }, 'a frame could not be handled');
        }
        this.sendError(id, known);
      }
    });
  }

  private async answer(frame: CheckedFrame): Promise<void> {
    if (frame.type === 'subscribe') assertMay(this.principal, capabilityFor(frame.topic));
    else if (frame.type === 'chat.send' || frame.type === 'chat.cancel') assertMay(this.principal, 'chat');
    switch (frame.type) {
      case 'ping':
        return this.send({ type: 'pong', ...(frame.id !== undefined && { id: frame.id }) });
      case 'subscribe': {
        const { topic, after, epoch } = frame;
        this.assertRoomFor(topic);
        const begin = await this.follow(topic, { after, epoch });
        this.acknowledge(frame);
        return begin();
      }
      case 'unsubscribe':
        this.unfollow(frame.topic);
        return this.acknowledge(frame);
      case 'chat.send':
        return this.sendChat(frame);
      case 'chat.cancel':
        await this.context.chat.cancel(frame.turn_id);
        return this.acknowledge(frame);
      case 'auth.refresh':
        await this.refresh(frame.token);
        return this.acknowledge(frame);
    }
  }

  private async sendChat(frame: Extract<CheckedFrame, { type: 'chat.send' }>): Promise<void> {
    const { conversation_id, content, client_message_id, model, filter, if_busy } = frame;
    const receipt = await this.context.chat.send({
      conversationId: conversation_id,
      content,
      clientMessageId: client_message_id,
      model,
      filter: filter as SearchFilter | undefined,
      ifBusy: if_busy,
    });
    this.acknowledge(frame, receipt);
    const topic = `turn:${receipt.turn_id}`;
    if (this.topics?.has(topic)) return;
    try {
      const begin = await this.follow(topic, {});
      begin();
    } catch (error) {
      // It is acknowledged, so it cannot be refused any more: the client comes back and resumes the turn.
      this.context.logger.warn({ err: error, topic }, `an accepted turn cannot be followed: ${messageOf(error)}`);
      this.end(CLOSE_CODES.too_slow, 'resume');
    }
  }

  private async refresh(token: string): Promise<void> {
    const principal = await this.context.principals.prove(token);
    if (!principal) throw new AppError('unauthenticated', 'The token is not valid, or no longer.');
    const { tenantId, userId } = this.principal;
    if (principal.tenantId !== tenantId || principal.userId !== userId) {
      throw new AppError('forbidden', 'The token is somebody else’s.');
    }
    this.principal = principal;
    // What was followed with other rights goes on only with these.
    for (const topic of [...(this.topics?.keys() ?? [])])
      if (!may(principal, capabilityFor(topic))) this.unfollow(topic);
  }

  // Topics.

  private assertRoomFor(topic: string): void {
    const { topics } = this;
    if (!topics || topics.has(topic) || topics.size < this.context.limits.maxTopics) return;
    throw new AppError('rate_limited', `At most ${this.context.limits.maxTopics} topics at a time.`, {
      retryAfterMs: 1_000,
    });
  }

  unfollow(topic: string): void {
    this.topics?.get(topic)?.();
    this.topics?.delete(topic);
  }

  /** Subscribes anew if need be. Events come once the returned function was called: the answer goes out before them. */
  private async follow(
    topic: string,
    from: { after?: number | undefined; epoch?: string | undefined },
  ): Promise<() => void> {
    const reader = new SocketReader(this, topic);
    const stop = await this.context.hub.subscribe(topic, reader, { ...from, role: this.principal.role });
    this.unfollow(topic);
    if (this.state === 'open') {
      this.topics ??= new Map();
      this.topics.set(topic, stop);
    } else stop();
    return () => reader.begin();
  }

  /** What a reader of a topic was handed. */
  deliver(event: HubEvent): void {
    this.sendEncoded(this.codec.encodeEvent(event));
    this.context.timeSome(event);
    if (FINAL_EVENTS.has(event.type)) this.turnEnded(event.topic);
  }

  /** A turn ends once, so nobody need unsubscribe; a task may be tried again. */
  private turnEnded(topic: string): void {
    if (topic.startsWith('turn:')) this.unfollow(topic);
  }

  reset(reset: Parameters<TopicReader['reset']>[0]): void {
    this.send({ type: 'reset', ...reset });
    const { status } = reset.snapshot;
    if (status !== 'queued' && status !== 'running') this.turnEnded(reset.topic);
  }

  /** `null` while more may be sent, else a promise for that. */
  ready(): Promise<void> | null {
    return this.outbox?.ready() ?? null;
  }

  // What is sent to many at once.

  enter(nativeTopic: string): void {
    if (this.state !== 'open') return;
    this.rooms += 1;
    this.socket?.subscribe(nativeTopic);
  }

  exit(nativeTopic: string): void {
    if (this.state === 'closed') return;
    this.rooms -= 1;
    this.socket?.unsubscribe(nativeTopic);
  }

  /** Notices bytes that wait although they were not sent one by one. */
  look(): void {
    const { outbox } = this;
    if (this.state !== 'open' || this.rooms === 0 || !outbox || outbox.behind) return;
    outbox.look();
    if (outbox.behind) this.context.fellBehind(this);
  }
}
