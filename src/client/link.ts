/**
 * One life of one socket. States: greeting (dialled, no `hello` yet), open (frames go both ways, `ping` at each
 * heartbeat), ended. It ends once, for whichever comes first: the socket's close, no `hello` in time, silence for two
 * heartbeats, `close()`. After the end nothing is called any more, however late the socket's own events come: a
 * half-open connection may take minutes to notice that it is dead.
 */
import type { ClientFrame, HelloFrame, ServerFrame } from '../contracts/index.ts';
import type { ClientClock } from './clock.ts';
import type { Codec } from './codec.ts';

/** A socket as a link needs it; `hostSocket` makes one of the host's `WebSocket`. */
export interface Socket {
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface SocketEvents {
  /** A text, or an `ArrayBuffer`. */
  message(data: unknown): void;
  closed(code: number, reason: string): void;
}

export type SocketFactory = (url: string, protocols: string[], events: SocketEvents) => Socket;

export const hostSocket: SocketFactory = (url, protocols, events) => {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('message', ({ data }) => events.message(data));
  // An `error` event says nothing that the `close` after it does not.
  socket.addEventListener('close', ({ code, reason }) => events.closed(code, reason));
  return socket;
};

export interface LinkEnd {
  code: number;
  reason: string;
  /** How long the link was open, in milliseconds; 0 when no `hello` came. */
  openMs: number;
}

export interface LinkOptions {
  url: string;
  codec: Codec;
  socket: SocketFactory;
  clock: ClientClock;
  helloTimeoutMs: number;
  opened(hello: HelloFrame): void;
  frame(frame: Exclude<ServerFrame, HelloFrame>): void;
  ended(end: LinkEnd): void;
}

export interface Link {
  /** Drops the frame when the link is not open. */
  send(frame: ClientFrame): void;
  /** Ends it without calling `ended`. */
  close(): void;
}

/** What browsers report for a connection that broke; also used for those that we give up on. */
const ABNORMAL = 1006;

export function openLink(options: LinkOptions): Link {
  const { clock, codec } = options;
  const socket = options.socket(options.url, [codec.subprotocol], { message, closed: end });
  let state: 'greeting' | 'open' | 'ended' = 'greeting';
  let openedAt = 0;
  let heardAt = clock.now();
  let cancelTimer = clock.after(options.helloTimeoutMs, () => end(ABNORMAL, 'no hello in time'));

  function release(): void {
    state = 'ended';
    cancelTimer();
    try {
      socket.close();
    } catch {
      // It was never connected, or is closed already.
    }
  }

  function end(code: number, reason: string): void {
    if (state === 'ended') return;
    const openMs = state === 'open' ? clock.now() - openedAt : 0;
    release();
    options.ended({ code, reason, openMs });
  }

  function beat(everyMs: number): void {
    cancelTimer = clock.after(everyMs, () => {
      if (clock.now() - heardAt >= 2 * everyMs) return end(ABNORMAL, 'no sign of life');
      send({ type: 'ping' });
      beat(everyMs);
    });
  }

  function send(frame: ClientFrame): void {
    if (state !== 'open') return;
    try {
      socket.send(codec.encode(frame));
    } catch (error) {
      end(ABNORMAL, String(error));
    }
  }

  function message(data: unknown): void {
    if (state === 'ended') return;
    heardAt = clock.now();
    const frame = codec.decode(data);
    if (!frame) return;
    if (frame.type !== 'hello') {
      if (state === 'open') options.frame(frame);
      return;
    }
    if (state !== 'greeting') return;
    state = 'open';
    openedAt = clock.now();
    cancelTimer();
    beat(frame.heartbeat_ms);
    options.opened(frame);
  }

  return {
    send,
    close() {
      if (state !== 'ended') release();
    },
  };
}
