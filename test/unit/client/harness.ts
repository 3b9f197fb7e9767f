/** A clock moved by hand, a scripted server at the other end of an in-memory socket, and a client between them. */
import { type Client, createClient } from '../../../src/client/client.ts';
import type { ClientClock } from '../../../src/client/clock.ts';
import type { Fetch } from '../../../src/client/http.ts';
import type { SocketEvents } from '../../../src/client/link.ts';
import type { ClientFrame, EventData, EventFrame, EventType, ServerFrame } from '../../../src/contracts/index.ts';

export interface ManualClock extends ClientClock {
  /** Moves time on, running what falls due in order, and lets promises settle in between. */
  advance(ms: number): Promise<void>;
  /** Milliseconds until each timer that waits. */
  waiting(): number[];
}

function createManualClock(): ManualClock {
  let time = 1_000_000;
  const timers = new Set<{ at: number; fn: () => void }>();
  return {
    now: () => time,
    after(ms, fn) {
      const timer = { at: time + ms, fn };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    waiting: () => [...timers].map((timer) => timer.at - time),
    async advance(ms) {
      const end = time + ms;
      await settle();
      for (;;) {
        const [next] = [...timers].filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at);
        if (!next) break;
        timers.delete(next);
        time = Math.max(time, next.at);
        next.fn();
        await settle();
      }
      time = end;
    },
  };
}

/** Lets every promise that can settle do so: a macrotask runs after all of them. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      port2.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** The server's end of one socket. */
export interface Peer {
  url: string;
  protocols: string[];
  /** What the client has sent, oldest first. */
  received: ClientFrame[];
  /** The client gave the socket up. */
  closed: boolean;
  send(frame: ServerFrame): void;
  hello(heartbeatMs?: number): void;
  cut(code: number, reason?: string): void;
  /** The client's frames of one type. */
  of<T extends ClientFrame['type']>(type: T): Extract<ClientFrame, { type: T }>[];
  /** Acknowledges every frame with an id that was not answered yet. */
  ackAll(extra?: { turn_id: string; message_id: string; conversation_id: string }): void;
}

export interface Harness {
  client: Client;
  clock: ManualClock;
  peers: Peer[];
  /** The newest socket. */
  peer(): Peer;
  /** `METHOD path` of every REST call. */
  calls: string[];
  /** Replaces the answer of a call. */
  answer(call: string, respond: () => Response): void;
  /** Value of the next and all later `random()` calls. */
  setRandom(value: number): void;
}

export const tokens = (n: number, expiresIn = 900) => ({
  access_token: `access-${n}`,
  refresh_token: `refresh-${n}`,
  expires_in: expiresIn,
  user: { id: 'u1', email: 'a@example.com', role: 'owner' },
  tenant: { id: 't1', name: 'acme' },
});

export const problem = (status: number, code: string, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify({ title: code, status, code, detail: `detail of ${code}`, trace_id: 'f'.repeat(32) }), {
    status,
    headers: { 'content-type': 'application/problem+json', ...headers },
  });

export async function createHarness(): Promise<Harness> {
  const clock = createManualClock();
  const peers: Peer[] = [];
  const calls: string[] = [];
  const answers = new Map<string, () => Response>();
  let random = 0.5;
  let tickets = 0;
  let generation = 1;

  const fetch: Fetch = async (input, init) => {
    const call = `${init?.method ?? 'GET'} ${new URL(input).pathname.replace('/api/v1', '')}`;
    calls.push(call);
    const scripted = answers.get(call);
    if (scripted) return scripted();
    if (call === 'POST /auth/login') return Response.json(tokens(generation));
    if (call === 'POST /auth/refresh') return Response.json(tokens(++generation));
    if (call === 'POST /ws/tickets')
      return Response.json({ ticket: `ticket-${++tickets}`, expires_in: 30 }, { status: 201 });
    return problem(404, 'not_found');
  };

  function socket(url: string, protocols: string[], events: SocketEvents) {
    const answered = new Set<string | number>();
    const peer: Peer = {
      url,
      protocols,
      received: [],
      closed: false,
      send: (frame) => events.message(JSON.stringify(frame)),
      hello: (heartbeat_ms = 15_000) =>
        peer.send({
          type: 'hello',
          connection_id: 'c',
          user_id: 'u1',
          tenant_id: 't1',
          heartbeat_ms,
          max_frame_bytes: 65_536,
        }),
      cut: (code, reason = '') => events.closed(code, reason),
      of: <T extends ClientFrame['type']>(type: T) =>
        peer.received.filter((frame): frame is Extract<ClientFrame, { type: T }> => frame.type === type),
      ackAll(extra) {
        for (const frame of peer.received) {
          if (!('id' in frame) || frame.id === undefined || answered.has(frame.id)) continue;
          answered.add(frame.id);
          peer.send({ type: 'ack', id: frame.id, ...(frame.type === 'chat.send' && extra) });
        }
      },
    };
    peers.push(peer);
    return {
      send: (data: string | Uint8Array) => void peer.received.push(JSON.parse(String(data)) as ClientFrame),
      close: () => {
        peer.closed = true;
      },
    };
  }

  const client = createClient({
    baseUrl: 'http://localhost:1',
    fetch,
    socket,
    clock,
    random: () => random,
    uuid: () => 'uuid',
  });
  await client.auth.login({ email: 'a@example.com', password: 'p' });

  return {
    client,
    clock,
    peers,
    calls,
    peer() {
      const last = peers.at(-1);
      if (!last) throw new Error('no socket was opened');
      return last;
    },
    answer: (call, respond) => void answers.set(call, respond),
    setRandom: (value) => {
      random = value;
    },
  };
}

export function event<T extends EventType>(
  topic: string,
  seq: number,
  type: T,
  data: EventData[T],
  epoch = 'e1',
): EventFrame {
  return { type, topic, epoch, seq, ts: '2026-01-01T00:00:00Z', data };
}

export const delta = (seq: number, text: string, epoch = 'e1', topic = 'turn:t1') =>
  event(topic, seq, 'turn.delta', { text }, epoch);
