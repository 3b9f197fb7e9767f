/**
 * Erasing a user and a tenant, on a real PostgreSQL and a real Redis: afterwards no table, key or blob knows them, others
 * have everything that was theirs, and whatever is interrupted goes on.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import Redis from 'ioredis';
import postgres from 'postgres';
import type { ErasureResource, Session } from '../../src/contracts/index.ts';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createForgetting } from '../../src/redis/forget.ts';
import { createErasing, type ErasingOptions } from '../../src/services/erasing.ts';
import { createErasures } from '../../src/services/erasures.ts';
import { createPeople, kindOf, type People, refusal } from '../support/people.ts';
import { linesOf } from '../support/rig.ts';

let people: People;
let admin: postgres.Sql;
let redis: Redis;
let erasures: ReturnType<typeof createErasures>;

beforeAll(async () => {
  people = await createPeople();
  const { rig, clock, identity, control, principals } = people;
  const { database } = rig;
  admin = postgres(rig.db.adminUrl, { max: 4, onnotice: () => undefined });
  redis = new Redis({ path: rig.redis.url.slice('unix:'.length), protocol: 2 });
  const tokens = createAccessTokens({ secrets: ['a secret of more than thirty-two bytes'], clock });
  erasures = createErasures({
    ...{ database, tokens, identity, control, principals, clock },
    ids: systemIds,
    logger: silentLogger,
  });
});
afterAll(async () => {
  redis.disconnect();
  await admin.end({ timeout: 5 });
  await people.close();
});

function worker(options: Partial<ErasingOptions> = {}) {
  const { database, blobs, clients, keys, control } = people.rig;
  const forgetting = createForgetting({ clients, keys });
  const base = { database, blobs, forgetting, control, clock: systemClock, logger: silentLogger };
  return createErasing({ ...base, ...options });
}

async function workOff(options: Partial<ErasingOptions> = {}): Promise<number> {
  const { round } = worker(options);
  let rounds = 0;
  while (await round(new AbortController().signal)) rounds += 1;
  return rounds;
}

const order = (by: Session, request: { scope: 'user' | 'tenant'; confirm?: string }): Promise<ErasureResource> =>
  people.as(by, (principal) => erasures.order(request, principal));
const reportOf = (id: string) => erasures.find({ kind: 'installation' }, id);
const scopeOf = ({ user, tenant }: Session) => ({ tenantId: tenant.id, userId: user.id });

/** Documents, private and not, a conversation with an answer, a source, an unfinished upload, a key, an invitation. */
async function live(session: Session, word: string) {
  const { rig } = people;
  const who = scopeOf(session);
  const shared = await rig.upload(who, `${linesOf(3, word)} shared`, { title: `shared ${word}` });
  const own = await rig.upload(who, `${linesOf(3, word)} private`, { title: `own ${word}`, visibility: 'private' });
  for (const { receipt } of [shared, own]) await rig.deliver(who, 'ingest', receipt.task_id);
  const waiting = await rig.upload(who, `${linesOf(2, word)} waiting`, { visibility: 'private' });
  const turn = await rig.as(who, () => rig.chat.send({ content: `what of ${word}?` }));
  await rig.deliver(who, 'chat', turn.turn_id);
  await rig.as(who, () =>
    rig.database.tenant(async (sql) => {
      const [upload, source] = [crypto.randomUUID(), crypto.randomUUID()];
      await sql`insert into upload_sessions (id, size, filename, expires_at) values (${upload}, 5, ${word}, now() + interval '1 day')`;
      await sql`insert into sources (id, visibility, kind, name, settings) values (${source}, 'private', 'web', ${word}, '{}')`;
      await sql`insert into sources (id, visibility, kind, name, settings) values (${crypto.randomUUID()}, 'tenant', 'web', 'of all', '{}')`;
      await rig.blobs.put(`uploads/${who.tenantId}/${upload}/0-1`, word);
      await rig.blobs.put(`sources/${who.tenantId}/${source}`, word);
    }),
  );
  await people.key(session);
  return { shared: shared.receipt.document_id, own: own.receipt.document_id, waiting: waiting.receipt.document_id };
}

/** Where a text stands: `table` → rows, `redis` → keys, `blobs` → files. */
async function whereIs(text: string, allowed: readonly string[] = []): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  const tables = await admin<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
      and not relispartition`;
  for (const { name } of tables) {
    const [row] = await admin<{ count: number }[]>`
      select count(*)::int as count from ${admin(name)} t where t::text ilike ${`%${text}%`}`;
    if (row && row.count > 0 && !allowed.includes(name)) found[name] = row.count;
  }
  for (const key of await redis.keys('*')) {
    const type = await redis.type(key);
    const value =
      type === 'stream'
        ? await redis.xrange(key, '-', '+')
        : type === 'hash'
          ? await redis.hgetall(key)
          : type === 'zset'
            ? await redis.zrange(key, '0', '-1')
            : type === 'set'
              ? await redis.smembers(key)
              : await redis.get(key);
    // A mark of a user who is no longer what tokens say has to outlive the tokens.
    if (`${key} ${JSON.stringify(value)}`.includes(text) && !key.includes(':changed:')) found[`redis ${key}`] = 1;
  }
  const files = await readdir(people.rig.folder.path, { recursive: true, withFileTypes: true });
  for (const file of files) {
    const path = `${file.parentPath}/${file.name}`;
    if (path.includes(text) || (file.isFile() && (await Bun.file(path).text()).includes(text)))
      found[`blob ${path}`] = 1;
  }
  return found;
}

describe('a user who is erased', () => {
  test('is nowhere any more, and what is the tenant’s goes on under its owner', async () => {
    const owner = await people.found();
    const leaver = await people.join(owner, 'admin');
    const word = 'zygomorphic';
    const documents = await live(leaver, word);
    expect(Object.keys(await whereIs(leaver.user.id)).length).toBeGreaterThan(8);
    const { id, status, whole_tenant } = await order(leaver, { scope: 'user' });
    expect({ status, whole_tenant }).toEqual({ status: 'queued', whole_tenant: false });
    expect(await people.principals.prove(leaver.access_token)).toBeNull();
    expect(await kindOf(people.login(leaver))).toBe('unauthenticated');
    expect(await kindOf(people.refresh(leaver))).toBe('unauthenticated');
    expect(await workOff({ settleMs: 0 })).toBe(2);
    const report = await reportOf(id);
    expect(report).toMatchObject({ status: 'done', deleted: { documents: 2, conversations: 1, accounts: 1 } });
    expect(Date.parse(report.finished_at ?? '')).toBeLessThanOrEqual(Date.parse(report.deadline));
    for (const secret of [leaver.user.id, leaver.user.email, documents.own, documents.waiting]) {
      expect(await whereIs(secret, ['usage_records', 'usage_daily'])).toEqual({});
    }
    const kept = await people.as(owner, (principal) => people.documents.list({ limit: 10 }, principal));
    expect(kept.items.map((item) => [item.id, item.owner_id])).toEqual([[documents.shared, owner.user.id]]);
    const [source] = await admin`select name, user_id from sources where tenant_id = ${owner.tenant.id}`;
    expect({ ...source }).toEqual({ name: 'of all', user_id: owner.user.id });
    expect(await people.rig.outstanding(scopeOf(owner))).toBe(0);
    const found = await people.as(owner, () =>
      people.rig.search.search({ query: word, top_k: 50, mode: 'hybrid', filter: {} }),
    );
    expect(new Set(found.results.map(({ document_id }) => document_id))).toEqual(new Set([documents.shared]));
    const { email, password } = { email: leaver.user.email, password: 'another long password' };
    const { invite } = await people.invite(owner, email, 'member');
    const again = await people.identity.register({ tenant: owner.tenant.name, email, password, invite });
    expect(again.user.id).not.toBe(leaver.user.id);
  });

  test('reads the report with the token of the order, and nothing else; nobody else does', async () => {
    const owner = await people.found();
    const [leaver, other] = [await people.join(owner, 'member'), await people.join(owner, 'member')];
    const { id } = await order(leaver, { scope: 'user' });
    const witness = await erasures.witness(leaver.access_token, id);
    expect(witness).toMatchObject({ userId: leaver.user.id, role: 'viewer', scopes: [] });
    expect(await erasures.witness(other.access_token, id)).toBeNull();
    expect(await erasures.witness('nonsense', id)).toBeNull();
    expect(await erasures.witness(leaver.access_token, 'nonsense')).toBeNull();
    expect(await people.rig.as(scopeOf(leaver), () => erasures.get(id))).toMatchObject({ id, scope: 'user' });
    expect(await kindOf(people.as(other, () => erasures.get(id)))).toBe('not_found');
    await workOff({ settleMs: 0 });
    expect(await erasures.witness(leaver.access_token, id)).toBeNull();
    expect(JSON.stringify(await reportOf(id))).not.toMatch(new RegExp(`${leaver.user.id}|${owner.tenant.id}|@`));
  });

  test('may be the last owner only of a tenant that has nobody else: then it goes too', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    const refused = await refusal(order(owner, { scope: 'user' }));
    expect(refused).toMatchObject({ kind: 'conflict' });
    expect((await people.login(owner)).user.id).toBe(owner.user.id);
    await people.remove(owner, member);
    expect(await order(owner, { scope: 'user' })).toMatchObject({ scope: 'user', whole_tenant: true });
    await workOff({ settleMs: 0 });
    expect(await whereIs(owner.tenant.id)).toEqual({});
  });

  test('leaves another tenant’s user of the same e-mail alone', async () => {
    const [one, two] = [await people.found(), await people.found()];
    const email = one.user.email;
    const { invite } = await people.invite(two, email, 'member');
    const password = 'correct horse battery';
    const twin = await people.identity.register({ tenant: two.tenant.name, email, password, invite });
    const theirs = await live(twin, 'quixotic');
    await order(one, { scope: 'user' });
    await workOff({ settleMs: 0 });
    expect((await people.login(twin)).user.id).toBe(twin.user.id);
    const { items } = await people.as(twin, (principal) => people.documents.list({ limit: 10 }, principal));
    expect(items.map(({ id }) => id).toSorted()).toEqual(Object.values(theirs).toSorted());
  });
});

describe('a tenant that is erased', () => {
  test('needs an owner, who says its name', async () => {
    const owner = await people.found();
    const boss = await people.join(owner, 'admin');
    expect(await kindOf(order(boss, { scope: 'tenant', confirm: owner.tenant.name }))).toBe('forbidden');
    for (const confirm of [undefined, '', 'yes', `${owner.tenant.name}x`]) {
      const error = await refusal(order(owner, { scope: 'tenant', ...(confirm !== undefined && { confirm }) }));
      expect(error).toMatchObject({ kind: 'invalid_request', errors: [{ path: '/confirm' }] });
    }
    expect((await people.login(owner)).user.id).toBe(owner.user.id);
  });

  test('is nowhere any more, whoever brought it; another tenant has all it had, and the name is free at once', async () => {
    const [owner, stranger] = [await people.found(), await people.found()];
    const member = await people.join(owner, 'member');
    const left = await people.join(owner, 'member');
    const word = 'sesquipedalian';
    const theirs = await live(stranger, word);
    const ours = [await live(owner, word), await live(member, word), await live(left, word)];
    await people.remove(owner, left);
    await people.invite(owner, people.fresh().email, 'viewer');
    const before = await whereIs(stranger.tenant.id);
    const { id } = await order(owner, { scope: 'tenant', confirm: owner.tenant.name.toUpperCase() });
    for (const one of [owner, member]) expect(await people.principals.prove(one.access_token)).toBeNull();
    const again = await people.identity.register({
      tenant: owner.tenant.name,
      email: owner.user.email,
      password: 'correct horse battery',
    });
    expect(again.tenant.id).not.toBe(owner.tenant.id);
    expect(await workOff({ settleMs: 0 })).toBe(2);
    expect(await whereIs(owner.tenant.id)).toEqual({});
    for (const { shared, own, waiting } of ours) {
      for (const document of [shared, own, waiting]) expect(await whereIs(document)).toEqual({});
    }
    expect(await reportOf(id)).toMatchObject({ status: 'done', deleted: { documents: 7, tenants: 1, accounts: 3 } });
    expect(await whereIs(stranger.tenant.id)).toEqual(before);
    const found = await people.as(stranger, () =>
      people.rig.search.search({ query: word, top_k: 50, mode: 'hybrid', filter: {} }),
    );
    expect(new Set(found.results.map(({ document_id }) => document_id))).toEqual(new Set([theirs.shared, theirs.own]));
  });
});

describe('an order', () => {
  test('that is interrupted anywhere goes on until nothing is left', async () => {
    const owner = await people.found();
    await live(owner, 'perspicacious');
    const { id } = await order(owner, { scope: 'tenant', confirm: owner.tenant.name });
    const { clients, keys, blobs } = people.rig;
    const forgetting = createForgetting({ clients, keys });
    let failures = 0;
    const failing = (what: string) => async (): Promise<never> => {
      failures += 1;
      throw new Error(`${what} is away`);
    };
    const due = () => admin`update erasures set run_at = now() where id = ${id}`;
    await worker({ forgetting: { ...forgetting, tenant: failing('Redis') } }).round(new AbortController().signal);
    await due();
    await worker({ blobs: { clear: failing('the blob store') } }).round(new AbortController().signal);
    expect(failures).toBe(2);
    expect(await reportOf(id)).toMatchObject({ status: 'running', finished_at: null });
    await due();
    // One that died holds the lease, and is waited for.
    await admin`update erasures set leased_until = now() + interval '1 hour' where id = ${id}`;
    expect(await workOff()).toBe(0);
    await admin`update erasures set leased_until = now() where id = ${id}`;
    expect(await workOff()).toBe(1);
    expect(await reportOf(id)).toMatchObject({ status: 'done', attempts: 3 });
    // The second look finds what was still being written.
    await blobs.put(`originals/${owner.tenant.id}/late`, 'late');
    await due();
    expect(await workOff()).toBe(1);
    expect(await whereIs(owner.tenant.id)).toEqual({});
    expect(await reportOf(id)).toMatchObject({ settled_at: expect.any(String) });
  });

  test('is carried out by one worker at a time, and who lost it changes nothing', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    await live(member, 'loquacious');
    const { id } = await order(member, { scope: 'user' });
    const { promise: reached, resolve } = Promise.withResolvers<void>();
    const { promise: free, resolve: release } = Promise.withResolvers<void>();
    const { clients, keys } = people.rig;
    const forgetting = createForgetting({ clients, keys });
    const slow = worker({
      forgetting: {
        ...forgetting,
        async user(...args) {
          resolve();
          await free;
          return forgetting.user(...args);
        },
      },
    });
    const first = slow.round(new AbortController().signal);
    await reached;
    expect(await workOff()).toBe(0);
    await admin`update erasures set leased_until = now() where id = ${id}`;
    expect(await workOff()).toBe(1);
    const { deleted } = await reportOf(id);
    release();
    await first;
    expect((await reportOf(id)).deleted).toEqual(deleted);
    expect(await reportOf(id)).toMatchObject({ status: 'done', attempts: 2 });
    expect(await whereIs(member.user.email)).toEqual({});
  });

  test('alone lets the database delete a tenant or an account', async () => {
    const owner = await people.found();
    const { id } = owner.tenant;
    const { database } = people.rig;
    expect(await database.system((sql) => sql`delete from tenants where id = ${id} returning 1`)).toHaveLength(0);
    expect(
      await database.system((sql) => sql`delete from memberships where tenant_id = ${id} returning 1`),
    ).toHaveLength(0);
    expect(await database.system((sql) => sql`delete from accounts where tenant_id = ${id} returning 1`)).toHaveLength(
      0,
    );
    expect(
      await database.system((sql) => sql`update tenants set name = 'x' where id = ${id} returning 1`),
    ).toHaveLength(0);
    expect((await people.login(owner)).user.id).toBe(owner.user.id);
  });

  test('is listed to the operator, and to the administrators of its tenant until it is settled', async () => {
    const [owner, stranger] = [await people.found(), await people.found()];
    const member = await people.join(owner, 'member');
    const { id } = await order(member, { scope: 'user' });
    const idsOf = async (reach: Parameters<typeof erasures.list>[0]) =>
      (await erasures.list(reach, { limit: 5 })).items.map((item) => item.id);
    expect(await idsOf({ kind: 'tenant', tenantId: owner.tenant.id })).toEqual([id]);
    expect(await idsOf({ kind: 'tenant', tenantId: stranger.tenant.id })).toEqual([]);
    expect(await kindOf(erasures.find({ kind: 'tenant', tenantId: stranger.tenant.id }, id))).toBe('not_found');
    await workOff({ settleMs: 0 });
    expect(await idsOf({ kind: 'tenant', tenantId: owner.tenant.id })).toEqual([]);
    expect((await idsOf({ kind: 'installation' }))[0]).toBe(id);
  });
});
