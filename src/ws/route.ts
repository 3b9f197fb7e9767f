/**
 * `GET /ws`. Everything is decided before the upgrade, as an HTTP answer that a client can read: a foreign `Origin` is
 * 403, missing or bad credentials 401, an unknown subprotocol 400. Then Bun's socket gets a `Connection` as its data.
 *
 * A plain GET route that upgrades, rather than Elysia's `.ws()`: that one keeps the request's whole context for as long as
 * the socket lives, wraps the socket anew for every event, and coerces text frames.
 */
import { type AnyElysia, Elysia } from 'elysia';
import type { Hub, Principal } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import type { Service } from '../kernel/service.ts';
import type { Control } from '../realtime/control.ts';
import { type Codec, createJsonCodec, createMsgpackCodec, negotiate } from './codec.ts';
import { Connection, type ConnectionContext, type ConnectionLimits } from './connection.ts';
import { SocketCrowd } from './crowd.ts';
import { createLatencySampler } from './latency.ts';
import type { ChatPort, PrincipalPort, TicketPort } from './ports.ts';
import { createSockets, type SocketsOptions } from './sockets.ts';
import { Tally } from './tally.ts';

export interface WsConfig {
  /** Browsers' origins besides our own. */
  allowedOrigins: readonly string[];
  /** How often a client gives a sign of life, in milliseconds. Default 30,000. */
  heartbeatMs?: number;
  /** Default 131,072: the longest message, in any script, with room to spare. */
  maxFrameBytes?: number;
  /** On one node. Default 100. */
  maxConnectionsPerUser?: number;
  /** Bytes that may wait for one socket. Default 1 MiB. */
  outboxBytes?: number;
  /** How long a socket may take nothing while something waits. Default 15,000. */
  stallMs?: number;
  /** Default 50, and 300 at once. */
  framesPerSecond?: number;
  frameBurst?: number;
  /** Topics that one socket may follow. Default 500. */
  maxTopics?: number;
}

export interface WsOptions {
  hub: Hub;
  chat: ChatPort;
  tickets: TicketPort;
  principals: PrincipalPort;
  control: Pick<Control, 'onEnded' | 'onReconnected'>;
  config: WsConfig;
  clock: Clock;
  ids: Ids;
  logger: Logger;
  metrics: Pick<Metrics, 'wsFrames' | 'tokenLatencyMs'> & SocketsOptions['metrics'];
  random?: () => number;
}

export interface WsRoute {
  /** Mounts `GET /ws`; throws `AppError`s for the app's renderer. */
  route: AnyElysia;
  /** For the root instance, `new Elysia({websocket})`: Elysia takes these from nowhere else. */
  websocket: NonNullable<ConstructorParameters<typeof Elysia>[0]>['websocket'] & object;
  /** Closes what expires, stalls or was ended elsewhere; `stop` closes all. */
  service: Service;
  /** Closes all sockets (1001 unless told otherwise); before `app.stop()`, which waits for them. */
  closeAll(code?: number): Promise<void>;
  /** Sockets open on this node. */
  count(): number;
}

const BEARER = /^Bearer +([\w.~+/-]+=*) *$/i;
/** Frames up to so many times the limit are answered with our own close code; above, Bun closes with 1009. */
const OVERSIZE_FACTOR = 16;
/** Bun cuts a socket that neither answers its pings nor sends anything for so many heartbeats. */
const SILENT_BEATS = 2.5;
const MAX_IDLE_SECONDS = 960;

export function createWsRoute(options: WsOptions): WsRoute {
  const { hub, chat, principals, tickets, clock, ids, logger, metrics, config } = options;
  const limits: ConnectionLimits = {
    heartbeatMs: config.heartbeatMs ?? 30_000,
    maxFrameBytes: config.maxFrameBytes ?? 131_072,
    framesPerSecond: config.framesPerSecond ?? 50,
    frameBurst: config.frameBurst ?? 300,
    maxTopics: config.maxTopics ?? 500,
    budgetBytes: config.outboxBytes ?? 1_048_576,
    stallMs: config.stallMs ?? 15_000,
  };
  // Counted apart, and told with each round: a labelled counter costs a tenth of what sending a frame does.
  const frames = { in: new Tally(), out: new Tally() };
  const sockets = createSockets({
    tell() {
      metrics.wsFrames.inc({ direction: 'in' }, frames.in.take());
      metrics.wsFrames.inc({ direction: 'out' }, frames.out.take());
    },
    control: options.control,
    principals,
    clock,
    logger,
    metrics,
    maxConnectionsPerUser: config.maxConnectionsPerUser ?? 100,
    random: options.random ?? Math.random,
  });
  const { opened, fellBehind, closed } = sockets;
  /** Known from the first upgrade on. */
  let server: Pick<Bun.Server<unknown>, 'publish'> | undefined;
  const context: ConnectionContext = {
    hub,
    chat,
    principals,
    clock,
    logger,
    timeSome: createLatencySampler({ clock, metrics }),
    frames,
    limits,
    broadcast: (nativeTopic, frame) => server?.publish(nativeTopic, frame),
    opened,
    fellBehind,
    closed,
  };
  const speaking = (codec: Codec) => ({ codec, crowd: new SocketCrowd(codec, context) });
  const protocols: Record<Codec['subprotocol'], ReturnType<typeof speaking>> = {
    'dreamhub.v1.json': speaking(createJsonCodec()),
    'dreamhub.v1.msgpack': speaking(createMsgpackCodec(limits)),
  };

  /** Another site's page must not open a socket with what it can get hold of; what is no browser sends no origin. */
  function assertOrigin(request: Request): void {
    const origin = request.headers.get('origin');
    if (origin === null || config.allowedOrigins.includes(origin)) return;
    if (URL.canParse(origin) && new URL(origin).host === request.headers.get('host')) return;
    throw new AppError('forbidden', 'This origin may not open a socket here.');
  }

  async function authenticate(request: Request): Promise<Principal> {
    const header = request.headers.get('authorization');
    const ticket = new URL(request.url).searchParams.get('ticket');
    if (header === null && ticket === null) {
      throw new AppError('unauthenticated', 'An Authorization header or a ticket is needed.');
    }
    const token = BEARER.exec(header ?? '')?.[1];
    const redeemed = header === null ? await tickets.redeem(ticket ?? '') : null;
    const principal = token ? await principals.prove(token) : redeemed && (await principals.confirm(redeemed));
    if (!principal || principal.expiresAt <= clock.now() || sockets.hasEnded(principal.sessionId)) {
      throw new AppError('unauthenticated', 'The credentials are not valid, or no longer.');
    }
    return principal;
  }

  const route = new Elysia({ name: 'ws' }).get(
    '/ws',
    async ({ request, server: own }) => {
      assertOrigin(request);
      // What is proven from here on may be undone before the socket is open.
      const { orders } = sockets;
      const principal = await authenticate(request);
      const offered = request.headers.get('sec-websocket-protocol');
      const subprotocol = negotiate(offered);
      if (subprotocol === null) throw new AppError('malformed', 'None of these subprotocols is spoken here.');
      if (sockets.closing) throw new AppError('unavailable', 'This process is going away.', { retryAfterMs: 1_000 });
      const { codec, crowd } = protocols[subprotocol];
      const data = new Connection(ids.uuid(), principal, codec, crowd, context, orders);
      const headers = offered === null ? {} : { 'sec-websocket-protocol': subprotocol };
      server ??= own ?? undefined;
      if (!own?.upgrade(request, { data, headers })) throw new AppError('malformed', 'A WebSocket is opened here.');
    },
    { detail: { hide: true } },
  );

  return {
    route,
    websocket: {
      maxPayloadLength: OVERSIZE_FACTOR * limits.maxFrameBytes,
      // Ours are smaller (`outbox.ts`); beyond this Bun drops frames and says 0.
      backpressureLimit: 2 * limits.budgetBytes,
      // A native topic skips a socket beyond it without a word: it is cut instead, and resumes.
      closeOnBackpressureLimit: true,
      idleTimeout: Math.min(MAX_IDLE_SECONDS, Math.max(8, Math.ceil((SILENT_BEATS * limits.heartbeatMs) / 1_000))),
      sendPings: true,
      perMessageDeflate: false,
    },
    service: sockets,
    closeAll: sockets.closeAll,
    count: () => sockets.size,
  };
}
