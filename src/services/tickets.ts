/**
 * Tickets let a browser open a socket, where it can send no header: 256 random bits that stand for a principal, once and
 * for a short while; one that an API key asked for has its scopes and its end. Redis keeps their hash, so that reading it opens nothing.
 */
import { createHash, randomBytes } from 'node:crypto';
import { type Principal, ROLES, SCOPES } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { createTicketStore } from '../realtime/ticket-store.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';

export interface Tickets {
  /** Throws `unavailable` when it could not be kept. `expires_in` is in seconds. */
  issue(principal: Principal): Promise<{ ticket: string; expires_in: number }>;
  /** The principal, the first time only; `null` for anything else. Throws `unavailable` when it cannot be looked up. */
  redeem(ticket: string): Promise<Principal | null>;
}

const TICKET_SECONDS = 30;

const TICKET = /^[A-Za-z0-9_-]{43}$/;

export function createTickets({ clients, keys, clock }: { clients: RedisClients; keys: Keys; clock: Clock }): Tickets {
  const store = createTicketStore({ client: clients.ops, keys });
  const hashOf = (ticket: string) => createHash('sha256').update(ticket).digest('base64url');

  async function answered<T>(reply: Promise<T>): Promise<T> {
    try {
      return await reply;
    } catch (cause) {
      throw new AppError('unavailable', 'Tickets are not available right now.', { cause, retryAfterMs: 1_000 });
    }
  }

  return {
    async issue(principal) {
      const ticket = randomBytes(32).toString('base64url');
      await answered(store.put(hashOf(ticket), JSON.stringify(principal), TICKET_SECONDS));
      return { ticket, expires_in: TICKET_SECONDS };
    },
    async redeem(ticket) {
      if (!TICKET.test(ticket)) return null;
      const kept = await answered(store.take(hashOf(ticket)));
      const principal = kept === null ? null : readPrincipal(kept);
      return principal && principal.expiresAt > clock.now() ? principal : null;
    },
  };
}

/** Our own JSON; `null` if it is of another version of this program. */
function readPrincipal(json: string): Principal | null {
  const { tenantId, userId, role, sessionId, expiresAt, scopes } = JSON.parse(json) as {
    [K in keyof Principal]?: unknown;
  };
  const known = ROLES.find((name) => name === role);
  if (typeof tenantId !== 'string' || typeof userId !== 'string' || !known) return null;
  if (typeof sessionId !== 'string' || typeof expiresAt !== 'number') return null;
  const principal = { tenantId, userId, role: known, sessionId, expiresAt };
  if (scopes === undefined) return principal;
  return Array.isArray(scopes) ? { ...principal, scopes: SCOPES.filter((scope) => scopes.includes(scope)) } : null;
}
