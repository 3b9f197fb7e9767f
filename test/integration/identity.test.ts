/** Accounts and sessions on a real PostgreSQL and a real Redis. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { Principal, Session } from '../../src/contracts/index.ts';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import { newTraceId, runAs, scopeIfAny } from '../../src/kernel/context.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createRedisClients, type RedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { MOST_ATTEMPTS } from '../../src/redis/login-attempts.ts';
import { createIdentity, type IdentityOptions } from '../../src/services/identity.ts';
import { movableClock } from '../support/movable-clock.ts';
import { createTestDatabase, startRedis, type TestDatabase, type TestRedis } from '../support/services.ts';

const SECRET = 'a secret of more than thirty-two bytes';
const PASSWORD = 'correct horse battery';
const DAY_MS = 86_400_000;
const keys = createKeys({ partitions: 4 });

let testDatabase: TestDatabase;
let redis: TestRedis;
let database: Database;
let clients: RedisClients;
let admin: postgres.Sql;

beforeAll(async () => {
  [testDatabase, redis] = await Promise.all([createTestDatabase(), startRedis()]);
  database = createDatabase({ url: testDatabase.url, max: 10, embedded: false });
  clients = createRedisClients({ url: redis.url, logger: silentLogger });
  admin = postgres(testDatabase.adminUrl, { max: 1, onnotice: () => undefined });
});

afterAll(async () => {
  await Promise.all([database.close(), clients.close(), admin.end({ timeout: 5 })]);
  await Promise.all([testDatabase.drop(), redis.stop()]);
});

function setUp(config: Partial<IdentityOptions['config']> = {}, options: Partial<IdentityOptions> = {}) {
  const clock = movableClock();
  const tokens = createAccessTokens({ secrets: [SECRET], clock });
  const ended: { sessionId: string; tenantId: string | undefined }[] = [];
  const make = () =>
    createIdentity({
      database,
      tokens,
      clients,
      keys,
      clock,
      ids: systemIds,
      config: { registration: 'open', accessTtlSeconds: 900, refreshTtlSeconds: 30 * 86_400, ...config },
      endSession: (sessionId) => void ended.push({ sessionId, tenantId: scopeIfAny()?.tenantId }),
      ...options,
    });
  const identity = make();
  /** As the auth plugin runs it. */
  async function as<T>(session: Session, fn: (principal: Principal) => Promise<T>): Promise<T> {
    const principal = await tokens.verify(session.access_token);
    if (!principal) throw new Error('the access token is not valid');
    return runAs({ tenantId: principal.tenantId, userId: principal.userId, traceId: newTraceId() }, () =>
      fn(principal),
    );
  }
  return { identity, make, clock, tokens, ended, as };
}

const origin = () => ({ ip: '198.51.100.7', traceId: newTraceId() });
let counter = 0;
const fresh = () => {
  counter += 1;
  return { tenant: `Tenant ${counter}`, email: `person${counter}@example.com`, password: PASSWORD };
};

async function refusal(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => new Error('it was not refused'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AppError)) throw error;
  return error;
}

const kindOf = async (promise: Promise<unknown>) => (await refusal(promise)).kind;

describe('registering', () => {
  test('makes a tenant with its owner, its counter and a session', async () => {
    const { identity, tokens, as } = setUp();
    const who = fresh();
    const session = await identity.register({
      ...who,
      tenant: `  ${who.tenant} `,
      email: ` ${who.email.toUpperCase()}`,
    });
    expect(session.user).toEqual({ id: session.user.id, email: who.email, role: 'owner' });
    expect(session.tenant).toEqual({ id: session.tenant.id, name: who.tenant });
    expect(session.expires_in).toBe(900);
    expect(await tokens.verify(session.access_token)).toMatchObject({
      tenantId: session.tenant.id,
      userId: session.user.id,
      role: 'owner',
    });
    expect(await as(session, () => identity.me())).toEqual({ user: session.user, tenant: session.tenant });
    expect(await admin`select outstanding from tenant_load where tenant_id = ${session.tenant.id}`).toHaveLength(1);
  });

  test('keeps neither the password nor the refresh token', async () => {
    const { identity } = setUp();
    const who = { ...fresh(), password: 'sesame, open up' };
    const session = await identity.register(who);
    const [account] = await admin`select password_hash from accounts where id = ${session.user.id}`;
    expect(account?.password_hash).toStartWith('$argon2id$');
    const [token] =
      await admin`select to_jsonb(r)::text as row, token_hash from refresh_tokens r where user_id = ${session.user.id}`;
    expect(token?.row).not.toContain(session.refresh_token);
    expect(Buffer.from(session.refresh_token, 'base64url')).toHaveLength(32);
    expect(token?.token_hash).toHaveLength(32);
  });

  test('in a tenant that is there, by any spelling of its name, is a conflict', async () => {
    const { identity } = setUp();
    const who = fresh();
    await identity.register(who);
    expect(await kindOf(identity.register({ ...fresh(), tenant: who.tenant.toUpperCase() }))).toBe('conflict');
    expect(await kindOf(identity.register(who))).toBe('conflict');
  });

  test('of one name by many at once makes one tenant, and leaves nothing of the others', async () => {
    const { identity } = setUp();
    const { tenant } = fresh();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => identity.register({ ...fresh(), tenant })),
    );
    const made = outcomes.filter(({ status }) => status === 'fulfilled');
    expect(made).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ kind: 'conflict' });
    }
    const rows = await admin`
      select (select count(*)::int from accounts a where a.tenant_id = t.id) as accounts,
        (select count(*)::int from memberships m where m.tenant_id = t.id) as memberships,
        (select count(*)::int from refresh_tokens r where r.tenant_id = t.id) as tokens
      from tenants t where lower(name) = lower(${tenant})`;
    expect([...rows]).toEqual([{ accounts: 1, memberships: 1, tokens: 1 }]);
  });

  test.each([
    ['closed', undefined, 'forbidden'],
    ['closed', 'abc', 'forbidden'],
    ['invite', undefined, 'forbidden'],
    ['invite', 'abc', 'invalid_request'],
    ['open', 'abc', 'invalid_request'],
  ] as const)('where it is %s, with invitation %p, is %s', async (registration, invite, kind) => {
    const { identity } = setUp({ registration });
    expect(await kindOf(identity.register({ ...fresh(), ...(invite && { invite }) }))).toBe(kind);
  });

  test('by invitation is open to whoever holds the operator’s token', async () => {
    const operatorToken = 'the operator’s token';
    const { identity } = setUp({ registration: 'invite', operatorToken });
    expect(await kindOf(identity.register({ ...fresh(), invite: `${operatorToken}!` }))).toBe('invalid_request');
    expect((await identity.register({ ...fresh(), invite: operatorToken })).user.role).toBe('owner');
  });

  test.each([
    ['/email', { email: 'nobody' }],
    ['/email', { email: 'a@b@c' }],
    ['/email', { email: 'a b@c' }],
    ['/email', { email: `${'a'.repeat(251)}@b.c` }],
    ['/tenant', { tenant: '   ' }],
    ['/tenant', { tenant: 'x'.repeat(101) }],
    ['/tenant', { tenant: 'a\nb' }],
    ['/password', { password: 'seven77' }],
    ['/password', { password: 'x'.repeat(257) }],
  ])('with a bad %s (%j) is refused', async (path, change) => {
    const error = await refusal(setUp().identity.register({ ...fresh(), ...change }));
    expect(error.kind).toBe('invalid_request');
    expect(error.errors?.map((one) => one.path)).toEqual([path]);
  });
});

describe('logging in', () => {
  test('takes the e-mail in any case, and the password in any Unicode form', async () => {
    const { identity } = setUp();
    const who = { ...fresh(), password: 'Gru\u0308\u00dfe aus K\u00f6ln' };
    const registered = await identity.register(who);
    const session = await identity.login(
      { email: who.email.toUpperCase(), password: who.password.normalize('NFC') },
      origin(),
    );
    expect(session.user).toEqual(registered.user);
    expect(session.refresh_token).not.toBe(registered.refresh_token);
  });

  test('with a wrong password, e-mail or tenant is refused in the same words', async () => {
    const { identity } = setUp();
    const who = fresh();
    await identity.register(who);
    const tries = [
      { email: who.email, password: 'wrong' },
      { email: 'nobody@example.com', password: PASSWORD },
      { email: who.email, password: PASSWORD, tenant: 'Another' },
    ];
    const errors = await Promise.all(tries.map((credentials) => refusal(identity.login(credentials, origin()))));
    expect(new Set(errors.map(({ kind, message }) => `${kind} ${message}`)).size).toBe(1);
    expect(errors[0]?.kind).toBe('unauthenticated');
  });

  test('with an unknown e-mail takes about as long as with a wrong password', async () => {
    const { identity } = setUp();
    const who = fresh();
    await identity.register(who);
    const timeOf = async (email: string) => {
      const started = performance.now();
      await refusal(identity.login({ email, password: 'wrong' }, origin()));
      return performance.now() - started;
    };
    await timeOf('warm-up@example.com');
    const median = (times: number[]) => times.toSorted((a, b) => a - b)[2] ?? 0;
    const known: number[] = [];
    const unknown: number[] = [];
    for (let round = 0; round < 5; round++) {
      known.push(await timeOf(who.email));
      unknown.push(await timeOf(`nobody${round}@example.com`));
    }
    // Without the dummy verification it is some 20 times as fast.
    expect(median(unknown)).toBeGreaterThan(median(known) / 3);
  });

  test('needs the tenant where the password fits several, and only there', async () => {
    const { identity } = setUp();
    const [first, second, third] = [fresh(), fresh(), fresh()];
    const { email } = first;
    await identity.register(first);
    await identity.register({ ...second, email });
    await identity.register({ ...third, email, password: 'a password of its own' });
    const error = await refusal(identity.login({ email, password: PASSWORD }, origin()));
    expect(error.kind).toBe('conflict');
    expect(error.message).toContain('tenant');
    const named = await identity.login({ email, password: PASSWORD, tenant: second.tenant.toLowerCase() }, origin());
    expect(named.tenant.name).toBe(second.tenant);
    const only = await identity.login({ email, password: 'a password of its own' }, origin());
    expect(only.tenant.name).toBe(third.tenant);
  });

  test('too often without success has to wait, from that address and for that e-mail alone', async () => {
    const { identity } = setUp();
    const who = fresh();
    await identity.register(who);
    const guess = () => refusal(identity.login({ email: who.email, password: 'wrong' }, origin()));
    const kinds = await Promise.all(Array.from({ length: MOST_ATTEMPTS + 5 }, async () => (await guess()).kind));
    expect(kinds.filter((kind) => kind === 'unauthenticated')).toHaveLength(MOST_ATTEMPTS);
    const limited = await guess();
    expect(limited.kind).toBe('rate_limited');
    expect(limited.retryAfterMs).toBeGreaterThan(800_000);
    expect(await kindOf(identity.login({ email: who.email, password: PASSWORD }, origin()))).toBe('rate_limited');
    await identity.login({ email: who.email, password: PASSWORD }, { ...origin(), ip: '203.0.113.9' });
    expect(await kindOf(identity.login({ email: 'else@example.com', password: 'wrong' }, origin()))).toBe(
      'unauthenticated',
    );
  });

  test('with success forgets the failures before', async () => {
    const { identity } = setUp();
    const who = fresh();
    await identity.register(who);
    for (let round = 0; round < 3; round++) {
      for (let guess = 0; guess < MOST_ATTEMPTS - 1; guess++) {
        await refusal(identity.login({ email: who.email, password: 'wrong' }, origin()));
      }
      await identity.login({ email: who.email, password: PASSWORD }, origin());
    }
  });

  test('is counted in this process while Redis is away', async () => {
    const away = createRedisClients({ url: 'unix:/nowhere/redis.sock', logger: silentLogger });
    const { identity } = setUp({}, { clients: away });
    const who = fresh();
    await identity.register(who);
    const guesses = Array.from({ length: MOST_ATTEMPTS + 1 }, () =>
      kindOf(identity.login({ email: who.email, password: 'wrong' }, origin())),
    );
    expect((await Promise.all(guesses)).filter((kind) => kind === 'rate_limited')).toHaveLength(1);
    await away.close();
  });

  test('of somebody whose membership was taken away is refused', async () => {
    const { identity } = setUp();
    const who = fresh();
    const session = await identity.register(who);
    await admin`delete from memberships where user_id = ${session.user.id}`;
    expect(await kindOf(identity.login({ email: who.email, password: PASSWORD }, origin()))).toBe('unauthenticated');
    expect(await kindOf(identity.refresh(session.refresh_token, origin()))).toBe('unauthenticated');
  });
});

describe('refreshing', () => {
  test('gives tokens of the same session, each good for one use', async () => {
    const { identity, tokens } = setUp();
    const first = await identity.register(fresh());
    const second = await identity.refresh(first.refresh_token, origin());
    const third = await identity.refresh(second.refresh_token, origin());
    expect(new Set([first, second, third].map((session) => session.refresh_token)).size).toBe(3);
    const sessions = await Promise.all([first, second, third].map(({ access_token }) => tokens.verify(access_token)));
    expect(new Set(sessions.map((principal) => principal?.sessionId)).size).toBe(1);
    expect(third.user).toEqual(first.user);
  });

  test('with a spent token ends the whole session, and no other of the user', async () => {
    const { identity, ended, as } = setUp();
    const who = fresh();
    const first = await identity.register(who);
    const other = await identity.login(who, origin());
    const second = await identity.refresh(first.refresh_token, origin());
    expect(await kindOf(identity.refresh(first.refresh_token, origin()))).toBe('unauthenticated');
    expect(await kindOf(identity.refresh(second.refresh_token, origin()))).toBe('unauthenticated');
    await as(second, async (principal) => {
      expect(ended).toEqual([{ sessionId: principal.sessionId, tenantId: principal.tenantId }]);
      expect(await identity.confirm(principal)).toBeNull();
    });
    await as(other, async (principal) => expect(await identity.confirm(principal)).toEqual(principal));
    await identity.refresh(other.refresh_token, origin());
  });

  test('with one token many times at once issues one token, and ends the session', async () => {
    const { identity } = setUp();
    const { refresh_token } = await identity.register(fresh());
    const outcomes = await Promise.allSettled(
      Array.from({ length: 6 }, () => identity.refresh(refresh_token, origin())),
    );
    const issued = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    expect(issued).toHaveLength(1);
    for (const session of issued) {
      expect(await kindOf(identity.refresh(session.refresh_token, origin()))).toBe('unauthenticated');
    }
  });

  test('takes up a changed role', async () => {
    const { identity, tokens } = setUp();
    const session = await identity.register(fresh());
    await admin`update memberships set role = 'viewer' where user_id = ${session.user.id}`;
    const next = await identity.refresh(session.refresh_token, origin());
    expect(next.user.role).toBe('viewer');
    expect((await tokens.verify(next.access_token))?.role).toBe('viewer');
  });

  test('is possible until the token expires, counted from the refresh before', async () => {
    const { identity, clock } = setUp({ refreshTtlSeconds: 7 * 86_400 });
    const first = await identity.register(fresh());
    clock.forward(6 * DAY_MS);
    const second = await identity.refresh(first.refresh_token, origin());
    clock.forward(6 * DAY_MS);
    const third = await identity.refresh(second.refresh_token, origin());
    clock.forward(7 * DAY_MS);
    expect(await kindOf(identity.refresh(third.refresh_token, origin()))).toBe('unauthenticated');
    // Expired, not reused: nothing more is known of the session than that.
    expect(
      await admin`select 1 from refresh_tokens where user_id = ${first.user.id} and revoked_at is not null`,
    ).toHaveLength(0);
  });

  test('with a token that was never issued is refused', async () => {
    expect(await kindOf(setUp().identity.refresh('made up', origin()))).toBe('unauthenticated');
  });
});

describe('logging out', () => {
  test('ends the session on every node, and only that one', async () => {
    const { identity, make, ended, as } = setUp();
    const who = fresh();
    const session = await identity.register(who);
    const other = await identity.login(who, origin());
    const elsewhere = make();
    await as(session, async (principal) => {
      await identity.logout(principal);
      expect(ended).toEqual([{ sessionId: principal.sessionId, tenantId: principal.tenantId }]);
      expect(await identity.confirm(principal)).toBeNull();
      expect(await elsewhere.confirm(principal)).toBeNull();
      const left = await clients.ops.ttl(keys.revoked(principal.sessionId));
      expect(left).toBeGreaterThan(890);
      expect(left).toBeLessThanOrEqual(900);
    });
    expect(await kindOf(identity.refresh(session.refresh_token, origin()))).toBe('unauthenticated');
    await as(other, async (principal) => expect(await elsewhere.confirm(principal)).toEqual(principal));
  });

  test('at the moment of a refresh leaves no token that works', async () => {
    const { identity, as } = setUp();
    for (let round = 0; round < 15; round++) {
      const session = await identity.register(fresh());
      const [refreshed] = await Promise.allSettled([
        identity.refresh(session.refresh_token, origin()),
        as(session, (principal) => identity.logout(principal)),
      ]);
      if (refreshed.status === 'fulfilled') {
        expect(await kindOf(identity.refresh(refreshed.value.refresh_token, origin()))).toBe('unauthenticated');
      }
      expect(
        await admin`select 1 from refresh_tokens where user_id = ${session.user.id} and revoked_at is null`,
      ).toHaveLength(0);
    }
  });

  test('is seen by another node within two seconds, though it asked just before', async () => {
    const { identity, make, clock, as } = setUp();
    const session = await identity.register(fresh());
    const elsewhere = make();
    await as(session, async (principal) => {
      expect(await elsewhere.confirm(principal)).toEqual(principal);
      await identity.logout(principal);
      clock.forward(2_000);
      expect(await elsewhere.confirm(principal)).toBeNull();
    });
  });

  test('holds while Redis is away, and locks nobody else out', async () => {
    const { identity, as } = setUp();
    const who = fresh();
    const session = await identity.register(who);
    const other = await identity.login(who, origin());
    await as(session, (principal) => identity.logout(principal));
    const away = createRedisClients({ url: 'unix:/nowhere/redis.sock', logger: silentLogger });
    const { identity: without } = setUp({}, { clients: away });
    await as(session, async (principal) => expect(await without.confirm(principal)).toBeNull());
    await as(other, async (principal) => expect(await without.confirm(principal)).toEqual(principal));
    await away.close();
  });
});

describe('the own profile', () => {
  test('is of the scope, and of nobody without one', async () => {
    const { identity, as } = setUp();
    const [one, two] = [await identity.register(fresh()), await identity.register(fresh())];
    expect((await as(one, () => identity.me())).user).toEqual(one.user);
    expect((await as(two, () => identity.me())).tenant).toEqual(two.tenant);
    await expect(identity.me()).rejects.toThrow('scope');
  });

  test('of an account that is gone is refused', async () => {
    const { identity, as } = setUp();
    const session = await identity.register(fresh());
    await admin`delete from accounts where id = ${session.user.id}`;
    expect(await kindOf(as(session, () => identity.me()))).toBe('unauthenticated');
  });
});
