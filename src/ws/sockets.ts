/**
 * The sockets of this node: who has how many, whose token has expired, which are too slow, whose session has ended
 * elsewhere. One round twice a second looks after all of them, so that a socket needs no timer of its own.
 */
import { CLOSE_CODES } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { type Control, type Ended, endsSession } from '../realtime/control.ts';
import type { Connection } from './connection.ts';
import type { PrincipalPort } from './ports.ts';

interface Settable {
  set(value: number): void;
}

export interface SocketsOptions {
  control: Pick<Control, 'onEnded' | 'onReconnected'>;
  principals: PrincipalPort;
  clock: Clock;
  logger: Logger;
  metrics: { wsConnections: Settable; wsOutboxBytes: Settable };
  /** Called twice a second, and at the end: says to the metrics what was counted meanwhile. */
  tell(): void;
  maxConnectionsPerUser: number;
  random: () => number;
}

export interface Sockets extends Service {
  /** False when the user has too many sockets on this node: it is closed then. */
  opened(connection: Connection): boolean;
  fellBehind(connection: Connection): void;
  closed(connection: Connection): void;
  /** The session ended a moment ago: what is known of sessions elsewhere in this process may be older. */
  hasEnded(sessionId: string): boolean;
  /** How many orders to end were heard so far: says what came first, an order or a look at credentials. */
  readonly orders: number;
  /** New sockets are not taken any more. */
  readonly closing: boolean;
  readonly size: number;
  /** Closes every socket and resolves when all are gone; those that do not answer are cut. */
  closeAll(code?: number): Promise<void>;
}

const ROUND_MS = 500;
/** Longer than anybody here goes on believing that a session lives (`services/revocations.ts`). */
const REMEMBER_ENDED_MS = 10_000;
/** How long a client may take to answer our close. */
const CLOSE_GRACE_MS = 2_000;
/** Told to go, clients come back spread over so long: about one a millisecond. */
const RECONNECT_SPREAD_MS = { a_socket: 1, most: 5_000 };

export function createSockets(options: SocketsOptions): Sockets {
  const { control, principals, clock, logger, metrics, maxConnectionsPerUser, random } = options;
  const all = new Set<Connection>();
  const behind = new Set<Connection>();
  const perUser = new Map<string, number>();
  /** Sessions by when they ended, in milliseconds since the epoch. */
  const endedSessions = new Map<string, number>();
  /** Users and tenants by the number of the order that ended what they had open, and when it came. */
  const endedOthers = new Map<string, { order: number; at: number }>();
  let orders = 0;
  let closing = false;
  let emptied: PromiseWithResolvers<void> | undefined;
  let unlisten: (() => void)[] = [];

  const userOf = ({ principal }: Connection) => `${principal.tenantId} ${principal.userId}`;

  function endWhere(matches: (connection: Connection) => boolean): void {
    for (const connection of [...all])
      if (matches(connection)) connection.end(CLOSE_CODES.session_ended, 'session ended');
  }

  function onEnded(ended: Ended): void {
    orders += 1;
    const at = clock.now();
    if (ended.kind === 'session') endedSessions.set(ended.id, at);
    else
      endedOthers.set(ended.kind === 'user' ? `${ended.tenantId} ${ended.id}` : ended.tenantId, { order: orders, at });
    endWhere(({ principal }) => endsSession(ended, principal));
  }

  /** The order came after the credentials were looked at. */
  function endedSince({ principal, provenAt }: Connection): boolean {
    if (endedSessions.has(principal.sessionId)) return true;
    const { tenantId, userId } = principal;
    return [`${tenantId} ${userId}`, tenantId].some((whose) => (endedOthers.get(whose)?.order ?? 0) > provenAt);
  }

  /** Orders may have been missed while Redis was away: each session is asked for once. */
  async function recheck(): Promise<void> {
    for (const [sessionId, principal] of new Map([...all].map((one) => [one.principal.sessionId, one.principal]))) {
      const now = await principals.confirm(principal);
      endWhere((one) => one.principal.sessionId === sessionId && one.principal.role !== now?.role);
    }
  }

  const loop = createLoop({
    name: 'ws-sockets',
    everyMs: ROUND_MS,
    clock,
    logger,
    async round() {
      const now = clock.now();
      for (const connection of all) connection.look();
      let waiting = 0;
      for (const connection of [...behind]) {
        if (!connection.check()) behind.delete(connection);
        waiting += connection.waitingBytes;
      }
      metrics.wsOutboxBytes.set(waiting);
      options.tell();
      for (const [sessionId, at] of endedSessions) if (now - at > REMEMBER_ENDED_MS) endedSessions.delete(sessionId);
      for (const [whose, { at }] of endedOthers) if (now - at > REMEMBER_ENDED_MS) endedOthers.delete(whose);
      for (const connection of [...all]) {
        if (connection.isOpen && connection.principal.expiresAt <= now)
          connection.end(CLOSE_CODES.session_ended, 'token expired');
        if (!connection.isOpen && now - connection.closingAt > CLOSE_GRACE_MS) connection.terminate();
      }
    },
  });

  async function closeAll(code: number = CLOSE_CODES.going_away): Promise<void> {
    closing = true;
    const spreadMs = Math.min(RECONNECT_SPREAD_MS.most, all.size * RECONNECT_SPREAD_MS.a_socket);
    for (const connection of [...all]) {
      connection.end(code, `reconnect_after_ms=${Math.floor(random() * spreadMs)}`);
    }
    if (all.size === 0) return;
    emptied ??= Promise.withResolvers();
    const cancel = clock.after(CLOSE_GRACE_MS, () => {
      for (const connection of [...all]) connection.terminate();
    });
    await emptied.promise;
    cancel();
  }

  return {
    name: loop.name,
    get closing() {
      return closing;
    },
    get size() {
      return all.size;
    },
    get orders() {
      return orders;
    },
    hasEnded: (sessionId) => endedSessions.has(sessionId),
    opened(connection) {
      const user = userOf(connection);
      const others = perUser.get(user) ?? 0;
      perUser.set(user, others + 1);
      all.add(connection);
      metrics.wsConnections.set(all.size);
      // A close code, rather than a refused upgrade: browsers are not told the status of one.
      if (others >= maxConnectionsPerUser) connection.end(CLOSE_CODES.too_many, 'too many connections');
      else if (closing) connection.end(CLOSE_CODES.going_away, 'going away');
      else if (endedSince(connection)) connection.end(CLOSE_CODES.session_ended, 'session ended');
      return connection.isOpen;
    },
    fellBehind(connection) {
      behind.add(connection);
    },
    closed(connection) {
      if (!all.delete(connection)) return;
      behind.delete(connection);
      const user = userOf(connection);
      const left = (perUser.get(user) ?? 1) - 1;
      if (left > 0) perUser.set(user, left);
      else perUser.delete(user);
      metrics.wsConnections.set(all.size);
      if (all.size === 0) emptied?.resolve();
    },
    closeAll,
    async start() {
      if (unlisten.length > 0) return;
      closing = false;
      emptied = undefined;
      unlisten = [
        control.onEnded(onEnded),
        control.onReconnected(() => {
          recheck().catch((error: unknown) =>
            logger.warn({ err: error }, `sessions were not rechecked: ${messageOf(error)}`),
          );
        }),
      ];
      await loop.start();
    },
    async stop() {
      await closeAll();
      for (const stop of unlisten) stop();
      unlisten = [];
      await loop.stop();
      options.tell();
    },
  };
}
