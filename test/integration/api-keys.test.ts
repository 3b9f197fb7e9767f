/** API keys on a real PostgreSQL and a real Redis. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pino from 'pino';
import postgres from 'postgres';
import { MOST_KEYS } from '../../src/services/api-keys.ts';
import { createTickets } from '../../src/services/tickets.ts';
import { createPeople, kindOf, type People } from '../support/people.ts';

const logged: string[] = [];
let people: People;
let admin: postgres.Sql;

beforeAll(async () => {
  people = await createPeople({ logger: pino({}, { write: (line: string) => void logged.push(line) }) });
  admin = postgres(people.rig.db.adminUrl, { max: 2, onnotice: () => undefined });
});
afterAll(async () => {
  await admin.end({ timeout: 5 });
  await people.close();
});

const list = (bearer: Parameters<People['as']>[0]) => people.as(bearer, () => people.apiKeys.list({ limit: 100 }));

describe('a key', () => {
  test('stands for its user, within its scopes, and is shown once', async () => {
    const owner = await people.found();
    const made = await people.key(owner, { name: '  nightly ', scopes: ['write', 'read', 'read'] });
    expect(made).toMatchObject({ name: 'nightly', scopes: ['read', 'write'], expires_at: null, last_used_at: null });
    expect(made.key).toMatch(/^dhk_[0-9A-Za-z]{49}$/);
    expect(made.key).toStartWith(made.prefix);
    expect(await people.principals.prove(made.key)).toEqual({
      tenantId: owner.tenant.id,
      userId: owner.user.id,
      role: 'owner',
      sessionId: made.id,
      expiresAt: 8_640_000_000_000_000,
      scopes: ['read', 'write'],
    });
    const { items } = await list(owner);
    expect(items).toMatchObject([{ id: made.id, name: 'nightly', prefix: made.prefix }]);
    const secret = made.key.slice(made.prefix.length);
    const [row] = await admin`select to_jsonb(k)::text as text, key_hash from api_keys k where id = ${made.id}`;
    for (const text of [JSON.stringify(items), String(row?.['text']), logged.join('')])
      expect(text).not.toContain(secret);
    expect(row?.['key_hash']).toHaveLength(32);
    expect(logged.join('')).toContain(made.id);
  });

  test('is none where it is mistyped, cut off, made up or another’s form, and the database is asked for the last alone', async () => {
    const owner = await people.found();
    const { key } = await people.key(owner);
    const changed = key.slice(0, 10) + (key[10] === 'a' ? 'b' : 'a') + key.slice(11);
    for (const wrong of [changed, key.slice(0, -1), `${key}a`, key.toUpperCase(), 'dhk_', '', `${key}\n`]) {
      expect(await people.principals.prove(wrong)).toBeNull();
    }
    // Of the right form and checksum, as anybody can compute them.
    const { key: gone, id } = await people.key(owner);
    await admin`delete from api_keys where id = ${id}`;
    expect(await people.principals.prove(gone)).toBeNull();
    expect(await people.principals.prove(key)).not.toBeNull();
  });

  test('may do what its user may do at that moment, and no more', async () => {
    const owner = await people.found();
    const boss = await people.join(owner, 'admin');
    const { key } = await people.key(boss, { scopes: ['admin'] });
    expect((await people.principals.prove(key))?.role).toBe('admin');
    await people.setRole(owner, boss, 'viewer');
    expect(await people.principals.prove(key)).toMatchObject({ role: 'viewer', scopes: ['admin'] });
    await people.remove(owner, boss);
    expect(await people.principals.prove(key)).toBeNull();
  });

  test('ends when it is deleted, on every node, and nobody else’s does', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    const [one, other, theirs] = [await people.key(owner), await people.key(owner), await people.key(member)];
    const elsewhere = await people.startNode();
    for (const { key } of [one, other, theirs]) expect(await elsewhere.principals.prove(key)).not.toBeNull();
    expect(await kindOf(people.as(owner, () => people.apiKeys.remove(theirs.id)))).toBe('not_found');
    expect((await list(owner)).items.map(({ id }) => id)).toEqual([one.id, other.id]);
    const heard = Promise.withResolvers<void>();
    elsewhere.control.onEnded((ended) => ended.kind === 'session' && ended.id === one.id && heard.resolve());
    await people.as(owner, () => people.apiKeys.remove(one.id));
    expect(await people.principals.prove(one.key)).toBeNull();
    await heard.promise;
    expect(await elsewhere.principals.prove(one.key)).toBeNull();
    for (const { key } of [other, theirs]) expect(await elsewhere.principals.prove(key)).not.toBeNull();
  });

  test('expires, though it was believed a moment before', async () => {
    const owner = await people.found();
    const expires_at = new Date(people.clock.now() + 60_000).toISOString();
    const { key } = await people.key(owner, { expires_at });
    people.clock.forward(59_000);
    const principal = await people.principals.prove(key);
    expect(principal?.expiresAt).toBe(Date.parse(expires_at));
    people.clock.forward(1_000);
    expect(await people.principals.prove(key)).toBeNull();
    expect(principal && (await people.principals.confirm(principal))).toBeNull();
  });

  test('tells when it was last used, to a minute', async () => {
    const owner = await people.found();
    const { key, id } = await people.key(owner);
    const used = async () => {
      people.clock.forward(3_000);
      await people.principals.prove(key);
      return (await list(owner)).items.find((one) => one.id === id)?.last_used_at ?? null;
    };
    const first = await used();
    expect(Date.parse(first ?? '')).toBeGreaterThan(0);
    expect(await used()).toBe(first);
    people.clock.forward(60_000);
    expect(await used()).not.toBe(first);
  });

  test('of which a user has too many is refused, at once or one by one', async () => {
    const owner = await people.found();
    const outcomes = await Promise.allSettled(Array.from({ length: MOST_KEYS + 5 }, () => people.key(owner)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(MOST_KEYS);
    expect(await kindOf(people.key(owner))).toBe('conflict');
  }, 30_000);

  test.each([
    ['/name', { name: '   ' }],
    ['/name', { name: 'a\nb' }],
    ['/scopes', { scopes: [] }],
    ['/expires_at', { expires_at: '2001-01-01T00:00:00Z' }],
  ])('with a bad %s (%j) is refused', async (path, more) => {
    const owner = await people.found();
    await expect(people.key(owner, more)).rejects.toMatchObject({ kind: 'invalid_request', errors: [{ path }] });
  });
});

describe('a key that is made with a key', () => {
  test('is worth no more and lasts no longer', async () => {
    const owner = await people.found();
    const expires_at = new Date(people.clock.now() + 3_600_000).toISOString();
    const { key } = await people.key(owner, { scopes: ['admin', 'read'], expires_at });
    const make = (more: Parameters<People['key']>[1]) =>
      people.as(key, (by) => people.apiKeys.create({ name: 'a child', ...more }, by));
    expect(await make({})).toMatchObject({ scopes: ['read'], expires_at });
    expect(await make({ scopes: ['admin'], expires_at: '2999-01-01T00:00:00Z' })).toMatchObject({ expires_at });
    expect(await kindOf(make({ scopes: ['read', 'write'] }))).toBe('forbidden');
  });
});

describe('a ticket', () => {
  test('that a key asked for has its scopes, and its end', async () => {
    const owner = await people.found();
    const tickets = createTickets({ clients: people.rig.clients, keys: people.rig.keys, clock: people.clock });
    const { key, id } = await people.key(owner, { scopes: ['read'] });
    const principal = await people.principals.prove(key);
    if (!principal) throw new Error('the key is not valid');
    const { ticket } = await tickets.issue(principal);
    const redeemed = await tickets.redeem(ticket);
    expect(redeemed).toEqual(principal);
    expect(await people.principals.confirm(principal)).toEqual(principal);
    await people.as(owner, () => people.apiKeys.remove(id));
    expect(await people.principals.confirm(principal)).toBeNull();
  });
});
