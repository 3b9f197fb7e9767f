/**
 * A topic of the hub as Server-Sent Events: `event:` the type, `id: EPOCH:SEQ`, `data:` the frame as JSON. A client that
 * was cut off sends the last id and continues. The response ends after a final event.
 */
import { type EventType, FINAL_EVENTS, type Hub, TASK_STATUSES, TURN_STATUSES } from '../../contracts/index.ts';
import type { Clock } from '../../kernel/clock.ts';

export interface SseOptions {
  hub: Hub;
  topic: string;
  clock: Clock;
  /** Continue after this event, as `Last-Event-ID` or the query names it. */
  after?: number | undefined;
  epoch?: string | undefined;
  /** The request's: ends the stream when the client goes. */
  signal: AbortSignal;
  /** Calls back when the one who asks may read no longer; returns what stops that. */
  whenRefused?: (end: () => void) => () => void;
  /** The event after which the response ends. Default: a final one. */
  until?: (type: EventType) => boolean;
  heartbeatMs?: number;
}

/** Bytes that may wait in the response before the hub stops feeding it. */
const MAX_WAITING_BYTES = 65_536;
const HEARTBEAT_MS = 15_000;
const UNFINISHED: ReadonlySet<unknown> = new Set(['queued', 'running']);
const STATUSES: ReadonlySet<unknown> = new Set([...TASK_STATUSES, ...TURN_STATUSES]);

/** Throws `not_found` for a topic that is not the caller's, before anything is sent. */
export async function streamTopicAsSse(options: SseOptions): Promise<Response> {
  const { hub, topic, clock, after, epoch, signal, heartbeatMs = HEARTBEAT_MS } = options;
  const isLast = options.until ?? ((type: EventType) => FINAL_EVENTS.has(type));
  const encoder = new TextEncoder();
  let room = Promise.withResolvers<void>();
  let ended = false;
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  let unsubscribe = () => {};
  let cancelHeartbeat = () => {};
  let stopWatching = () => {};

  function end(): void {
    if (ended) return;
    ended = true;
    cancelHeartbeat();
    stopWatching();
    unsubscribe();
    signal.removeEventListener('abort', end);
    room.resolve();
    try {
      controller?.close();
    } catch {
      // The client has gone: there is nothing to close.
    }
  }

  function send(text: string): void {
    if (!ended) controller?.enqueue(encoder.encode(text));
  }

  function beat(): void {
    cancelHeartbeat = clock.after(heartbeatMs, () => {
      // One is enough for whoever does not read.
      if ((controller?.desiredSize ?? 0) > 0) send(': still here\n\n');
      beat();
    });
  }

  const stream = new ReadableStream<Uint8Array>(
    {
      start(given) {
        controller = given;
      },
      pull() {
        room.resolve();
      },
      cancel: end,
    },
    new ByteLengthQueuingStrategy({ highWaterMark: MAX_WAITING_BYTES }),
  );

  unsubscribe = await hub.subscribe(
    topic,
    {
      event(event) {
        send(`event: ${event.type}\nid: ${event.epoch}:${event.seq}\ndata: ${event.json}\n\n`);
        if (isLast(event.type)) end();
      },
      reset(reset) {
        send(`event: reset\nid: ${reset.epoch}:${reset.seq}\ndata: ${JSON.stringify({ type: 'reset', ...reset })}\n\n`);
        if (isFinished(reset.snapshot['status'])) end();
      },
      over: end,
      ready() {
        if (ended || (controller?.desiredSize ?? 0) > 0) return null;
        room = Promise.withResolvers<void>();
        return room.promise;
      },
    },
    { after, epoch },
  );
  if (ended) unsubscribe();
  else if (signal.aborted) end();
  else {
    signal.addEventListener('abort', end, { once: true });
    stopWatching = options.whenRefused?.(end) ?? stopWatching;
    beat();
  }
  return new Response(stream, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    },
  });
}

/** A snapshot that says how it ended is the last there is to tell. */
function isFinished(status: unknown): boolean {
  return STATUSES.has(status) && !UNFINISHED.has(status);
}
