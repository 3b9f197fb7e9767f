/**
 * Accounts and sessions. A session is a family of refresh tokens: each refresh spends one and issues the next, and a spent
 * one that comes back means that somebody has a copy, so the whole session ends. There is no grace for two refreshes at
 * once with the same token: a client shares one refresh among its callers (`client/session.ts` does), and an exception
 * would be a window for the thief as well. Access tokens are short-lived and not stored; `confirm` says what has become of the
 * session and the role that one speaks of.
 */
import type { AccessTokens, Me, Principal, Role, Session } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runAs } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { createLoginAttempts } from '../redis/login-attempts.ts';
import { createSessionMarks } from '../redis/session-marks.ts';
import {
  type AccountCandidate,
  findAccounts,
  getProfile,
  insertAccount,
  insertTenant,
  insertTenantLoad,
} from '../repositories/accounts.ts';
import { findInvitation, takeInvitation } from '../repositories/invitations.ts';
import { getOwnRole, insertMembership } from '../repositories/memberships.ts';
import {
  deleteExpiredOfFamily,
  findFamily,
  getRefreshToken,
  insertRefreshToken,
  lockFamily,
  revokeFamily,
  roleOfSession,
  spendRefreshToken,
} from '../repositories/refresh-tokens.ts';
import { createPasswords, hashOfToken, newToken, normaliseEmail, normaliseTenantName } from './credentials.ts';
import { createOperatorCheck } from './operator.ts';
import { createRevocations } from './revocations.ts';

export interface IdentityOptions {
  database: Database;
  tokens: AccessTokens;
  clients: Pick<RedisClients, 'ops'>;
  keys: Keys;
  clock: Clock;
  ids: Ids;
  config: {
    registration: 'open' | 'invite' | 'closed';
    operatorToken?: string | undefined;
    accessTtlSeconds: number;
    /** From the last refresh on. */
    refreshTtlSeconds: number;
  };
  /** Ends what a session still has open, its sockets on every node. Called in the scope of the session's user. */
  endSession(sessionId: string): Promise<void> | void;
}

/** Where a request that has no principal yet comes from. */
export interface Origin {
  /** Address of the peer; '' where it is not known. */
  ip: string;
  traceId: string;
}

export interface Registration {
  tenant: string;
  email: string;
  password: string;
  invite?: string;
}

export interface Credentials {
  email: string;
  password: string;
  /** Needed where e-mail and password fit several tenants. */
  tenant?: string;
}

export type Identity = ReturnType<typeof createIdentity>;

interface Owner {
  tenantId: string;
  userId: string;
}

/** An e-mail may be registered by strangers in tenants of their own; so many of them are tried without a tenant's name. */
const MOST_CANDIDATES = 20;

const refused = () => new AppError('unauthenticated', 'E-mail, password and tenant do not fit together.');
const sessionEnded = () =>
  new AppError('unauthenticated', 'The refresh token is not valid, or no longer. Log in again.');

const notInvited = () => {
  const errors = [{ path: '/invite', message: 'Not valid, or no longer, for this tenant and e-mail' }];
  return new AppError('invalid_request', 'The invitation is not valid, or no longer.', { errors });
};

export function createIdentity(options: IdentityOptions) {
  const { database, tokens, clients, keys, clock, ids, config } = options;
  const attempts = createLoginAttempts({ client: clients.ops, keys });
  const passwords = createPasswords();
  const revocations = createRevocations({
    marks: createSessionMarks({ client: clients.ops, keys }),
    truth: (principal) => database.system((sql) => roleOfSession(sql, principal)),
    clock,
    accessTtlSeconds: config.accessTtlSeconds,
  });

  const now = () => new Date(clock.now());

  function nextRefreshToken(sessionId: string, owner: Owner) {
    const { token, hash } = newToken();
    const createdAt = now();
    const expiresAt = new Date(createdAt.getTime() + config.refreshTtlSeconds * 1_000);
    return { token, row: { hash, familyId: sessionId, ...owner, createdAt, expiresAt } };
  }

  /** The account with its tenant and role; undefined where either is gone. */
  async function readMe(): Promise<Me | undefined> {
    const [profile, role] = await database.tenant((sql) => Promise.all([getProfile(sql), getOwnRole(sql)]));
    if (!profile || !role) return undefined;
    return {
      user: { id: profile.userId, email: profile.email, role },
      tenant: { id: profile.tenantId, name: profile.tenantName },
    };
  }

  async function sessionOf(me: Me, sessionId: string, refreshToken: string): Promise<Session> {
    const principal = { tenantId: me.tenant.id, userId: me.user.id, role: me.user.role, sessionId };
    return {
      access_token: await tokens.sign(principal, config.accessTtlSeconds),
      refresh_token: refreshToken,
      expires_in: config.accessTtlSeconds,
      ...me,
    };
  }

  async function startSession(me: Me): Promise<Session> {
    const sessionId = ids.uuid();
    const { token, row } = nextRefreshToken(sessionId, { tenantId: me.tenant.id, userId: me.user.id });
    await database.system((sql) => insertRefreshToken(sql, row));
    return sessionOf(me, sessionId, token);
  }

  /** After the database says so: tells every node, and whoever is connected. */
  async function announceEnd(sessionId: string): Promise<void> {
    const { tenantId, userId } = currentScope();
    await revocations.revoke({ sessionId, tenantId, userId });
    await options.endSession(sessionId);
  }

  /** The operator's token is an invitation to make a tenant: the way in where registration is not open. */
  const isOperator = createOperatorCheck(config.operatorToken);

  /** Only whoever has a token that fits learns that there is such a tenant; everybody else is told the same. */
  async function join({ tenant, email: typed, password }: Registration, invite: string, ip: string): Promise<Session> {
    const name = normaliseTenantName(tenant);
    const email = normaliseEmail(typed);
    await attempts.count(`join ${email}`, ip);
    const tokenHash = hashOfToken(invite);
    const found = await database.system((sql) => findInvitation(sql, { tokenHash, tenant: name, email, at: now() }));
    if (!found) throw notInvited();
    const passwordHash = await passwords.hash(password);
    const { id: userId, tenantId } = found;
    const sessionId = ids.uuid();
    const { token, row } = nextRefreshToken(sessionId, { tenantId, userId });
    const role = await database
      .system(async (sql) => {
        // Whoever takes it is the one: of any number at once.
        const taken = await takeInvitation(sql, tokenHash, now());
        if (!taken) return undefined;
        await insertAccount(sql, { id: userId, tenantId, email: taken.email, passwordHash });
        await insertMembership(sql, { tenantId, userId, role: taken.role });
        await insertRefreshToken(sql, row);
        return taken.role;
      })
      .catch((error: unknown) => {
        // The e-mail is a member by now.
        if (error instanceof Error && 'code' in error && error.code === '23505') return undefined;
        throw error;
      });
    if (!role) throw notInvited();
    await attempts.forget(`join ${email}`, ip);
    const me = { user: { id: userId, email: found.email, role }, tenant: { id: tenantId, name: found.tenantName } };
    return sessionOf(me, sessionId, token);
  }

  /** Makes a tenant or, with an invitation into one, joins it. Where registration is closed nobody does either. */
  async function register(registration: Registration, { ip }: Pick<Origin, 'ip'> = { ip: '' }): Promise<Session> {
    const { invite } = registration;
    if (config.registration === 'closed') throw new AppError('forbidden', 'Registration is closed on this server.');
    if (invite !== undefined && !isOperator(invite)) return join(registration, invite, ip);
    if (invite === undefined && config.registration === 'invite')
      throw new AppError('forbidden', 'Registration needs an invitation on this server.');
    const name = normaliseTenantName(registration.tenant);
    const email = normaliseEmail(registration.email);
    const passwordHash = await passwords.hash(registration.password);
    const [tenantId, userId, sessionId] = [ids.uuid(), ids.uuid(), ids.uuid()];
    const role: Role = 'owner';
    const { token, row } = nextRefreshToken(sessionId, { tenantId, userId });
    const made = await database.system(async (sql) => {
      if (!(await insertTenant(sql, { id: tenantId, name }))) return false;
      await insertTenantLoad(sql, tenantId);
      await insertAccount(sql, { id: userId, tenantId, email, passwordHash });
      await insertMembership(sql, { tenantId, userId, role });
      await insertRefreshToken(sql, row);
      return true;
    });
    if (!made) throw new AppError('conflict', 'A tenant of this name exists; joining it needs an invitation.');
    return sessionOf({ user: { id: userId, email, role }, tenant: { id: tenantId, name } }, sessionId, token);
  }

  /** Tries every account that the e-mail may mean; where there is none, takes as long as one would. */
  async function matching(candidates: readonly AccountCandidate[], password: string): Promise<AccountCandidate[]> {
    if (candidates.length === 0) await passwords.verifyNothing(password);
    const matches: AccountCandidate[] = [];
    for (const candidate of candidates) {
      if (await passwords.verify(password, candidate.passwordHash)) matches.push(candidate);
    }
    return matches;
  }

  async function login(credentials: Credentials, { ip, traceId }: Origin): Promise<Session> {
    const email = normaliseEmail(credentials.email);
    const tenant = credentials.tenant === undefined ? undefined : normaliseTenantName(credentials.tenant);
    await attempts.count(email, ip);
    const candidates = await database.system((sql) => findAccounts(sql, { email, tenant, limit: MOST_CANDIDATES }));
    const [match, another] = await matching(candidates, credentials.password);
    if (!match) throw refused();
    await attempts.forget(email, ip);
    if (another) {
      const errors = [{ path: '/tenant', message: 'Needed: the e-mail is in several tenants' }];
      throw new AppError('conflict', 'The e-mail is in several tenants: say which one in `tenant`.', { errors });
    }
    const me = await runAs({ tenantId: match.tenantId, userId: match.userId, traceId }, readMe);
    if (!me) throw refused();
    return startSession(me);
  }

  /** Spends a refresh token for the next of its family, or finds that it was spent before. */
  async function rotate(hash: Uint8Array) {
    return database.system(async (sql) => {
      const sessionId = await findFamily(sql, hash);
      if (sessionId === undefined) return undefined;
      await lockFamily(sql, sessionId);
      const spent = await getRefreshToken(sql, hash);
      const at = now();
      if (!spent || spent.revokedAt || spent.expiresAt <= at) return undefined;
      const owner: Owner = { tenantId: spent.tenantId, userId: spent.userId };
      if (spent.usedAt) {
        await revokeFamily(sql, sessionId, at);
        return { sessionId, owner, token: undefined };
      }
      const { token, row } = nextRefreshToken(sessionId, owner);
      await spendRefreshToken(sql, hash, at);
      await deleteExpiredOfFamily(sql, sessionId, at);
      await insertRefreshToken(sql, row);
      return { sessionId, owner, token };
    });
  }

  async function refresh(refreshToken: string, { traceId }: Origin): Promise<Session> {
    const rotated = await rotate(hashOfToken(refreshToken));
    if (!rotated) throw sessionEnded();
    const { sessionId, owner, token } = rotated;
    return runAs({ ...owner, traceId }, async () => {
      const me = token === undefined ? undefined : await readMe();
      if (token === undefined || !me) {
        await announceEnd(sessionId);
        throw sessionEnded();
      }
      return sessionOf(me, sessionId, token);
    });
  }

  async function logout({ sessionId }: Principal): Promise<void> {
    await database.system(async (sql) => {
      await lockFamily(sql, sessionId);
      await revokeFamily(sql, sessionId, now());
    });
    await announceEnd(sessionId);
  }

  async function me(): Promise<Me> {
    const found = await readMe();
    if (!found) throw new AppError('unauthenticated', `The account ${currentScope().userId} is no longer there.`);
    return found;
  }

  const { confirm, changing, forget } = revocations;
  return { register, login, refresh, logout, me, confirm, changing, forget };
}
