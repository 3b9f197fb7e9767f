/**
 * API keys: secrets that stand for a user where no person can log in. A key may do what its scopes say and its user may do
 * at that moment, never more. It is looked up by its hash in PostgreSQL; what was found is believed for two seconds, and
 * forgotten at once when the order to end is heard. A key that is wrong costs a checksum or one read by an index.
 */
import { timingSafeEqual } from 'node:crypto';
import {
  type ApiKeyResource,
  type KeyScope,
  type NewApiKey,
  type Page,
  type PageRequest,
  type Principal,
  SCOPES,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { type Control, type Ended, endsSession } from '../realtime/control.ts';
import {
  deleteApiKey,
  findStandingKey,
  insertApiKey,
  listApiKeys,
  type StandingKey,
  touchApiKey,
} from '../repositories/api-keys.ts';
import { lockRoles } from '../repositories/memberships.ts';
import { hashOfToken, isApiKey, newApiKey } from './credentials.ts';
import { idCursor, toPage } from './paging.ts';

export interface ApiKeyRequest {
  name: string;
  /** Default: all but `admin`, or with a key, what that one has of them. */
  scopes?: KeyScope[] | undefined;
  /** RFC 3339. Default: never. */
  expires_at?: string | null | undefined;
}

export interface ApiKeys {
  /** The key itself is in this answer and in no other. One that is made with a key is worth no more than that one. */
  create(request: ApiKeyRequest, by: Principal): Promise<NewApiKey>;
  /** The own ones, oldest first. */
  list(page: PageRequest): Promise<Page<ApiKeyResource>>;
  /** It ends at once, with the sockets and streams that were opened with it. */
  remove(id: string): Promise<void>;
  /** Whose key it is and what it may do; null for anything else. In no scope. */
  prove(key: string): Promise<Principal | null>;
  /** The principal of a key as it is now; null where the key is over. In no scope. */
  confirm(principal: Principal): Promise<Principal | null>;
  /** An order to end was heard: what is believed of it may be older. */
  forget(ended: Ended): void;
}

export interface ApiKeysOptions {
  database: Database;
  control: Pick<Control, 'endSession'>;
  clock: Clock;
  ids: Ids;
  logger: Logger;
}

export const MOST_KEYS = 50;
const DEFAULT_SCOPES: readonly KeyScope[] = ['read', 'write', 'chat'];
const KEEP_MS = 2_000;
const MOST_KEPT = 10_000;
const TOUCH_MS = 60_000;
/** The last moment that a `Date` can name: of a key that does not expire. */
const NEVER = 8_640_000_000_000_000;

function invalid(path: string, message: string): AppError {
  return new AppError('invalid_request', `${message}.`, { errors: [{ path, message }] });
}

export function createApiKeys({ database, control, clock, ids, logger }: ApiKeysOptions): ApiKeys {
  /** By the hash of the key's text, in base64. */
  const proven = new Map<string, { answer: Promise<Principal | null>; until: number; principal?: Principal }>();

  function principalOf(key: StandingKey | undefined): Principal | null {
    const expiresAt = key?.expiresAt?.getTime() ?? NEVER;
    if (!key || expiresAt <= clock.now()) return null;
    const { id, tenantId, userId, role, scopes } = key;
    return { tenantId, userId, role, sessionId: id, expiresAt, scopes };
  }

  async function touch(key: StandingKey): Promise<void> {
    const now = clock.now();
    const before = new Date(now - TOUCH_MS);
    if (key.lastUsedAt && key.lastUsedAt >= before) return;
    try {
      await database.system((sql) => touchApiKey(sql, key, new Date(now), before));
    } catch (error) {
      logger.warn({ err: error, key_id: key.id }, `the use of a key was not noted: ${messageOf(error)}`);
    }
  }

  async function look(hash: Uint8Array): Promise<Principal | null> {
    const found = await database.system((sql) => findStandingKey(sql, { hash }));
    const principal = found && timingSafeEqual(found.hash, hash) ? principalOf(found) : null;
    if (found && principal) await touch(found);
    return principal;
  }

  function scopesFor(request: ApiKeyRequest, by: Principal): KeyScope[] {
    const allowed = by.scopes ?? SCOPES;
    const wanted = request.scopes ?? DEFAULT_SCOPES.filter((scope) => allowed.includes(scope));
    const scopes = SCOPES.filter((scope) => wanted.includes(scope));
    if (scopes.length === 0) throw invalid('/scopes', 'A key needs at least one scope');
    const missing = scopes.find((scope) => !allowed.includes(scope));
    if (missing) throw new AppError('forbidden', `A key that has not the scope ${missing} itself cannot give it.`);
    return scopes;
  }

  function expiryFor({ expires_at }: ApiKeyRequest, by: Principal): Date | null {
    const asked = expires_at === undefined || expires_at === null ? NEVER : Date.parse(expires_at);
    if (!(asked > clock.now())) throw invalid('/expires_at', 'A key expires in the future');
    // What is made with a key ends with it at the latest.
    const expiresAt = by.scopes === undefined ? asked : Math.min(asked, by.expiresAt);
    return expiresAt >= NEVER ? null : new Date(expiresAt);
  }

  return {
    async create(request, by) {
      const name = request.name.trim().normalize('NFC');
      if (name === '' || name.length > 100 || /\p{Cc}/u.test(name)) {
        throw invalid('/name', 'A name has 1 to 100 characters, none of them a control character');
      }
      const scopes = scopesFor(request, by);
      const expiresAt = expiryFor(request, by);
      const { key, prefix, hash } = newApiKey();
      const row = { id: ids.uuid(), name, prefix, hash, scopes, createdAt: new Date(clock.now()), expiresAt };
      const { tenantId, userId } = currentScope();
      const made = await database.tenant(async (sql) => {
        // One at a time, or two would both be the last one that there is room for.
        if (!(await lockRoles(sql, [userId])).has(userId)) throw new AppError('forbidden', 'You are no member here.');
        return insertApiKey(sql, row, MOST_KEYS);
      });
      if (!made) throw new AppError('conflict', `A user has at most ${MOST_KEYS} API keys: delete one first.`);
      logger.info({ event: 'api_key.created', tenant_id: tenantId, user_id: userId, key_id: made.id, scopes }, 'audit');
      return { ...made, key };
    },

    async list({ limit, cursor }) {
      const rows = await database.tenant((sql) => listApiKeys(sql, { limit: limit + 1, after: idCursor(cursor) }));
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },

    async remove(id) {
      if (!(await database.tenant((sql) => deleteApiKey(sql, id)))) {
        throw new AppError('not_found', 'There is no such API key.');
      }
      const { tenantId, userId } = currentScope();
      logger.info({ event: 'api_key.deleted', tenant_id: tenantId, user_id: userId, key_id: id }, 'audit');
      forget({ kind: 'session', tenantId, id });
      await control.endSession(id);
    },

    async prove(key) {
      if (!isApiKey(key)) return null;
      const hash = hashOfToken(key);
      const name = Buffer.from(hash).toString('base64');
      const known = proven.get(name);
      if (known && known.until > clock.now()) return stillValid(await known.answer);
      if (proven.size >= MOST_KEPT) proven.clear();
      const kept: typeof known = { answer: look(hash), until: clock.now() + KEEP_MS };
      proven.set(name, kept);
      try {
        const principal = await kept.answer;
        if (principal) kept.principal = principal;
        // Nobody's guesses are kept.
        else if (proven.get(name) === kept) proven.delete(name);
        return principal;
      } catch (error) {
        if (proven.get(name) === kept) proven.delete(name);
        throw error;
      }
    },

    async confirm({ tenantId, sessionId: id }) {
      return principalOf(await database.system((sql) => findStandingKey(sql, { id, tenantId })));
    },

    forget,
  };

  function stillValid(principal: Principal | null): Principal | null {
    return principal && principal.expiresAt > clock.now() ? principal : null;
  }

  function forget(ended: Ended): void {
    for (const [name, { principal }] of proven) {
      // One that is being looked up may have been read before.
      if (!principal || endsSession(ended, principal)) proven.delete(name);
    }
  }
}
