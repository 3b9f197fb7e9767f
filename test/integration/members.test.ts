/** Members on a real PostgreSQL and a real Redis: who comes, who goes, and what is left of them. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import pino from 'pino';
import postgres from 'postgres';
import type { Session } from '../../src/contracts/index.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import type { AppError } from '../../src/kernel/errors.ts';
import { MOST_ATTEMPTS } from '../../src/redis/login-attempts.ts';
import { createPeople, kindOf, type People, refusal } from '../support/people.ts';

const DAY_MS = 86_400_000;
const logged: string[] = [];
let people: People;
let admin: postgres.Sql;

beforeAll(async () => {
  people = await createPeople({ logger: pino({}, { write: (line: string) => void logged.push(line) }) });
  admin = postgres(people.rig.db.adminUrl, { max: 4, onnotice: () => undefined });
});
afterAll(async () => {
  await admin.end({ timeout: 5 });
  await people.close();
});

const ownersOf = async ({ tenant }: Session) =>
  (await admin`select user_id from memberships where tenant_id = ${tenant.id} and role = 'owner'`).length;
const scopeOf = ({ user, tenant }: Session) => ({ tenantId: tenant.id, userId: user.id });

describe('an invitation', () => {
  test('is listed, and whoever registers with it joins under its id', async () => {
    const owner = await people.found();
    const { email, password } = people.fresh();
    const made = await people.invite(owner, ` ${email.toUpperCase()}`, 'member');
    expect(made).toMatchObject({ email, role: 'member', status: 'invited', last_seen_at: null });
    expect(Date.parse(made.expires_at ?? '')).toBe(Date.parse(made.created_at) + 7 * DAY_MS);
    const link = new URL(made.link);
    expect(link.search).toBe('');
    expect(Object.fromEntries(new URLSearchParams(link.hash.replace('#/join?', '')))).toEqual({
      tenant: owner.tenant.name,
      email,
      invite: made.invite,
    });
    const joined = await people.identity.register({ tenant: owner.tenant.name, email, password, invite: made.invite });
    expect(joined).toMatchObject({ user: { id: made.id, email, role: 'member' }, tenant: owner.tenant });
    const { items } = await people.as(owner, () => people.members.list({ limit: 10 }));
    expect(items.map(({ id, role, status, expires_at }) => ({ id, role, status, expires_at }))).toEqual([
      { id: owner.user.id, role: 'owner', status: 'active', expires_at: null },
      { id: made.id, role: 'member', status: 'active', expires_at: null },
    ]);
    for (const { last_seen_at } of items) expect(Date.parse(last_seen_at ?? '')).toBeGreaterThan(0);
    expect((await people.login(joined)).user.id).toBe(made.id);
  });

  test('is kept as a hash and told to no log', async () => {
    const owner = await people.found();
    const { id, invite } = await people.invite(owner, people.fresh().email, 'viewer');
    const [row] = await admin`select to_jsonb(i)::text as text, token_hash from invitations i where id = ${id}`;
    expect(row?.['text']).not.toContain(invite);
    expect(row?.['token_hash']).toHaveLength(32);
    expect(Buffer.from(invite, 'base64url')).toHaveLength(32);
    expect(logged.join('')).toContain(id);
    expect(logged.join('')).not.toContain(invite);
  });

  test('that was used, replaced, withdrawn, or is another’s, is refused in the same words', async () => {
    const [owner, other] = [await people.found(), await people.found()];
    const { email, password } = people.fresh();
    const tenant = owner.tenant.name;
    const used = await people.invite(owner, people.fresh().email, 'member');
    const usedBy = { tenant, email: used.email, password, invite: used.invite };
    await people.identity.register(usedBy);
    const replaced = await people.invite(owner, email, 'member');
    const current = await people.invite(owner, email, 'viewer');
    expect(current.id).toBe(replaced.id);
    const withdrawn = await people.invite(owner, people.fresh().email, 'member');
    await people.as(owner, () => people.members.remove(withdrawn.id));
    const attempts = [
      usedBy,
      { tenant, email, password, invite: replaced.invite },
      { tenant, email: withdrawn.email, password, invite: withdrawn.invite },
      { tenant: other.tenant.name, email, password, invite: current.invite },
      { tenant: 'No such tenant', email, password, invite: current.invite },
      { tenant, email: people.fresh().email, password, invite: current.invite },
      { tenant, email, password, invite: 'made up' },
      { tenant, email, password, invite: '' },
    ];
    const errors: AppError[] = [];
    for (const attempt of attempts) errors.push(await refusal(people.identity.register(attempt)));
    expect(
      new Set(errors.map(({ kind, message, errors: fields }) => JSON.stringify([kind, message, fields]))).size,
    ).toBe(1);
    expect(errors[0]).toMatchObject({ kind: 'invalid_request', status: 422 });
    expect((await people.identity.register({ tenant, email, password, invite: current.invite })).user.role).toBe(
      'viewer',
    );
  });

  test('expires', async () => {
    const owner = await people.found();
    const { email, password } = people.fresh();
    const { id, invite } = await people.invite(owner, email, 'member');
    await admin`update invitations set expires_at = ${new Date(people.clock.now())} where id = ${id}`;
    const tenant = owner.tenant.name;
    expect(await kindOf(people.identity.register({ tenant, email, password, invite }))).toBe('invalid_request');
  });

  test('used many times at once makes one account', async () => {
    const owner = await people.found();
    const { email, password } = people.fresh();
    const { id, invite } = await people.invite(owner, email, 'member');
    const tenant = owner.tenant.name;
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, () => people.identity.register({ tenant, email, password, invite })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ kind: 'invalid_request' });
    const accounts = await admin`select id from accounts where tenant_id = ${owner.tenant.id} and email = ${email}`;
    expect(accounts.map((row) => row['id'])).toEqual([id]);
  });

  test('is not spent by a password that is too short', async () => {
    const owner = await people.found();
    const { email, password } = people.fresh();
    const { invite } = await people.invite(owner, email, 'member');
    const tenant = owner.tenant.name;
    expect(
      (await refusal(people.identity.register({ tenant, email, password: 'short', invite }))).errors,
    ).toMatchObject([{ path: '/password' }]);
    await people.identity.register({ tenant, email, password, invite });
  });

  test('is not guessed for long', async () => {
    const owner = await people.found();
    const { email, password } = people.fresh();
    const { invite } = await people.invite(owner, email, 'member');
    const tenant = owner.tenant.name;
    for (let i = 0; i < MOST_ATTEMPTS; i++) {
      await refusal(people.identity.register({ tenant, email, password, invite: `guess ${i}` }));
    }
    expect(await kindOf(people.identity.register({ tenant, email, password, invite }))).toBe('rate_limited');
  });

  test('works where registration is by invitation, and not where it is closed', async () => {
    const owner = await people.found();
    const { email, password } = people.fresh();
    const { invite } = await people.invite(owner, email, 'member');
    const registration = { tenant: owner.tenant.name, email, password, invite };
    const closed = await people.startNode({ registration: 'closed' });
    expect(await kindOf(closed.identity.register(registration))).toBe('forbidden');
    const invited = await people.startNode({ registration: 'invite' });
    expect((await invited.identity.register(registration)).user.role).toBe('member');
  });

  test('of a member is a conflict', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    expect(await kindOf(people.invite(owner, member.user.email, 'admin'))).toBe('conflict');
    expect(await kindOf(people.invite(owner, 'nobody', 'member'))).toBe('invalid_request');
  });

  test('at the moment of joining leaves nothing beside the member', async () => {
    const owner = await people.found();
    for (let round = 0; round < 6; round++) {
      const { email, password } = people.fresh();
      const { invite } = await people.invite(owner, email, 'member');
      const [joined, again] = await Promise.allSettled([
        people.identity.register({ tenant: owner.tenant.name, email, password, invite }),
        people.invite(owner, email, 'viewer'),
      ]);
      const [rows] = await admin`select
        (select count(*)::int from accounts where tenant_id = ${owner.tenant.id} and email = ${email}) as accounts,
        (select count(*)::int from invitations where tenant_id = ${owner.tenant.id} and email = ${email}) as invitations`;
      expect([joined.status, again.status].toSorted()).toEqual(['fulfilled', 'rejected']);
      const isIn = joined.status === 'fulfilled';
      expect({ ...rows }).toEqual({ accounts: isIn ? 1 : 0, invitations: isIn ? 0 : 1 });
    }
  });

  test('goes with the one who made it, and with the right to make it', async () => {
    const owner = await people.found();
    const [leaving, demoted] = [await people.join(owner, 'admin'), await people.join(owner, 'owner')];
    const [first, second, third] = [people.fresh(), people.fresh(), people.fresh()];
    const ofLeaving = await people.invite(leaving, first.email, 'admin');
    const asOwner = await people.invite(demoted, second.email, 'owner');
    const asMember = await people.invite(demoted, third.email, 'member');
    await people.remove(owner, leaving);
    await people.setRole(owner, demoted, 'admin');
    const tenant = owner.tenant.name;
    expect(await kindOf(people.identity.register({ ...first, tenant, invite: ofLeaving.invite }))).toBe(
      'invalid_request',
    );
    expect(await kindOf(people.identity.register({ ...second, tenant, invite: asOwner.invite }))).toBe(
      'invalid_request',
    );
    await people.identity.register({ ...third, tenant, invite: asMember.invite });
  });
});

describe('a role', () => {
  test('is given by owners, and below owner by admins', async () => {
    const owner = await people.found();
    const [boss, member, viewer] = [
      await people.join(owner, 'admin'),
      await people.join(owner, 'member'),
      await people.join(owner, 'viewer'),
    ];
    for (const by of [member, viewer]) {
      expect(await kindOf(people.invite(by, people.fresh().email, 'viewer'))).toBe('forbidden');
      expect(await kindOf(people.setRole(by, viewer, 'member'))).toBe('forbidden');
      expect(await kindOf(people.remove(by, boss))).toBe('forbidden');
    }
    expect(await kindOf(people.invite(boss, people.fresh().email, 'owner'))).toBe('forbidden');
    for (const [who, role] of [
      [boss, 'owner'],
      [member, 'owner'],
      [owner, 'viewer'],
    ] as const) {
      expect(await kindOf(people.setRole(boss, who, role))).toBe('forbidden');
    }
    expect(await kindOf(people.remove(boss, owner))).toBe('forbidden');
    expect((await people.setRole(boss, member, 'admin')).role).toBe('admin');
    expect((await people.setRole(owner, viewer, 'owner')).role).toBe('owner');
    const invited = await people.invite(owner, people.fresh().email, 'owner');
    expect(await kindOf(people.invite(boss, invited.email, 'member'))).toBe('forbidden');
    expect(await kindOf(people.as(boss, () => people.members.setRole(invited.id, 'member')))).toBe('forbidden');
    expect(await kindOf(people.as(boss, () => people.members.remove(invited.id)))).toBe('forbidden');
    expect((await people.as(owner, () => people.members.setRole(invited.id, 'member'))).role).toBe('member');
    await people.as(boss, () => people.members.remove(invited.id));
  });

  test('counts at once, on every node, whatever the access token says', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    const elsewhere = await people.startNode();
    for (const one of [people, elsewhere]) {
      expect((await one.principals.prove(member.access_token))?.role).toBe('member');
    }
    const heard = Promise.withResolvers<void>();
    elsewhere.control.onEnded(({ kind }) => kind === 'user' && heard.resolve());
    await people.setRole(owner, member, 'viewer');
    expect((await people.principals.prove(member.access_token))?.role).toBe('viewer');
    await heard.promise;
    expect((await elsewhere.principals.prove(member.access_token))?.role).toBe('viewer');
    expect((await people.refresh(member)).user.role).toBe('viewer');
  });

  test('of another tenant’s member is nobody’s to change', async () => {
    const [owner, stranger] = [await people.found(), await people.found()];
    const member = await people.join(owner, 'member');
    const invited = await people.invite(owner, people.fresh().email, 'member');
    for (const id of [owner.user.id, member.user.id, invited.id]) {
      expect(await kindOf(people.as(stranger, () => people.members.setRole(id, 'viewer')))).toBe('not_found');
      expect(await kindOf(people.as(stranger, () => people.members.remove(id)))).toBe('not_found');
    }
    const { items } = await people.as(stranger, () => people.members.list({ limit: 50 }));
    expect(items.map(({ id }) => id)).toEqual([stranger.user.id]);
  });
});

describe('the last owner', () => {
  test('neither leaves nor becomes anything else', async () => {
    const owner = await people.found();
    await people.join(owner, 'admin');
    expect(await kindOf(people.remove(owner, owner))).toBe('conflict');
    expect(await kindOf(people.setRole(owner, owner, 'admin'))).toBe('conflict');
    expect(await ownersOf(owner)).toBe(1);
    expect((await people.login(owner)).user.role).toBe('owner');
  });

  test('is left by any number who go at once', async () => {
    for (let round = 0; round < 4; round++) {
      const owner = await people.found();
      const owners = [owner, ...(await Promise.all([1, 2, 3].map(() => people.join(owner, 'owner'))))];
      const outcomes = await Promise.allSettled(
        owners.map((one, i) => (i % 2 === 0 ? people.remove(one, one) : people.setRole(one, one, 'viewer'))),
      );
      expect(await ownersOf(owner)).toBe(1);
      const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
      expect(refused).toMatchObject([{ kind: 'conflict' }]);
    }
  });

  test('is kept by the database itself', async () => {
    const owner = await people.found();
    const change = people.rig.as(scopeOf(owner), () =>
      people.rig.database.tenant((sql) => sql`delete from memberships where user_id = ${owner.user.id}`),
    );
    await expect(change).rejects.toThrow('a tenant keeps an owner');
  });
});

describe('who is removed', () => {
  test('is out at once: tokens, refreshing, logging in and keys, on every node', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    const { key } = await people.key(member);
    const elsewhere = await people.startNode();
    for (const one of [people, elsewhere]) {
      expect(await one.principals.prove(member.access_token)).not.toBeNull();
      expect(await one.principals.prove(key)).not.toBeNull();
    }
    const heard = Promise.withResolvers<string>();
    elsewhere.control.onEnded((ended) => ended.kind === 'user' && heard.resolve(ended.id));
    await people.remove(owner, member);
    expect(await heard.promise).toBe(member.user.id);
    for (const one of [people, elsewhere]) {
      expect(await one.principals.prove(member.access_token)).toBeNull();
      expect(await one.principals.prove(key)).toBeNull();
    }
    expect(await kindOf(people.refresh(member))).toBe('unauthenticated');
    expect(await kindOf(people.login(member))).toBe('unauthenticated');
    expect(await kindOf(people.remove(owner, member))).toBe('not_found');
    const left = await admin`
      select (select count(*)::int from api_keys where user_id = ${member.user.id}) as keys,
        (select count(*)::int from refresh_tokens where user_id = ${member.user.id} and revoked_at is null) as sessions`;
    expect([...left]).toMatchObject([{ keys: 0, sessions: 0 }]);
  });

  test('may be oneself', async () => {
    const owner = await people.found();
    const viewer = await people.join(owner, 'viewer');
    await people.remove(viewer, viewer);
    expect(await people.principals.prove(viewer.access_token)).toBeNull();
  });

  test('at the moment of refreshing keeps nothing that works', async () => {
    const owner = await people.found();
    for (let round = 0; round < 6; round++) {
      const member = await people.join(owner, 'member');
      const [refreshed] = await Promise.allSettled([people.refresh(member), people.remove(owner, member)]);
      if (refreshed.status !== 'fulfilled') continue;
      expect(await people.principals.prove(refreshed.value.access_token)).toBeNull();
      expect(await kindOf(people.refresh(refreshed.value))).toBe('unauthenticated');
    }
  });

  test('leaves what was the tenant’s, and of what was private a name that administrators may delete', async () => {
    const owner = await people.found();
    const [boss, member] = [await people.join(owner, 'admin'), await people.join(owner, 'member')];
    const open = await people.rig.upload(scopeOf(member), 'for all of us');
    const secret = await people.rig.upload(scopeOf(member), 'the secret of Grace', { visibility: 'private' });
    await people.rig.deliver(scopeOf(member), 'ingest', open.receipt.task_id);
    await people.rig.deliver(scopeOf(member), 'ingest', secret.receipt.task_id);
    await people.remove(owner, member);

    // The same e-mail again is another user, to whom nothing of the first one belongs.
    const { invite, id } = await people.invite(owner, member.user.email, 'member');
    const again = await people.identity.register({
      tenant: owner.tenant.name,
      email: member.user.email,
      password: 'another password',
      invite,
    });
    expect(id).not.toBe(member.user.id);
    const namesFor = (who: Session) =>
      people.as(who, async (by) => (await people.documents.list({ limit: 50 }, by)).items.map((one) => one.id));
    expect(await namesFor(again)).toEqual([open.receipt.document_id]);
    for (const who of [owner, boss]) {
      expect(await namesFor(who)).toEqual([secret.receipt.document_id, open.receipt.document_id]);
    }

    await people.as(boss, async (by) => {
      const name = await people.documents.get(secret.receipt.document_id, by);
      expect(name).toMatchObject({ filename: 'notes.txt', size: 19, visibility: 'private', owner_id: member.user.id });
      expect(name).toMatchObject({ sha256: null, metadata: {}, chunks: null, task_id: null });
      for (const read of [people.documents.text, people.documents.content]) {
        expect(await kindOf(read(secret.receipt.document_id))).toBe('not_found');
      }
      expect(await kindOf(people.documents.chunks(secret.receipt.document_id, { limit: 10 }))).toBe('not_found');
      const found = await people.rig.search.search({ query: 'secret of Grace', top_k: 10, mode: 'hybrid', filter: {} });
      expect(JSON.stringify(found)).not.toContain('Grace');
      await people.documents.remove(secret.receipt.document_id, by);
    });
    expect(await admin`select 1 from documents where id = ${secret.receipt.document_id}`).toHaveLength(0);
  });

  test('leaves no work that nobody could see the end of', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    const open = await people.rig.upload(scopeOf(member), 'still waiting, for all');
    const secret = await people.rig.upload(scopeOf(member), 'still waiting, for one', { visibility: 'private' });
    const turn = await people.rig.as(scopeOf(member), () => people.rig.chat.send({ content: 'Hello?' }));
    await people.remove(owner, member);
    const states = await admin`
      select id, status from tasks where document_id in (${open.receipt.document_id}, ${secret.receipt.document_id})
      union all select id, status from turns where id = ${turn.turn_id}`;
    expect(Object.fromEntries(states.map((row) => [row['id'], row['status']]))).toEqual({
      [open.receipt.task_id]: 'queued',
      [secret.receipt.task_id]: 'cancelled',
      [turn.turn_id]: 'cancelled',
    });
  });
});

describe('a document', () => {
  test('is deleted by who brought it, by admins and by owners', async () => {
    const owner = await people.found();
    const [one, other, boss] = await Promise.all([
      people.join(owner, 'member'),
      people.join(owner, 'member'),
      people.join(owner, 'admin'),
    ]);
    const bring = async (text: string) => (await people.rig.upload(scopeOf(one), text)).receipt.document_id;
    const ids = [await bring('first'), await bring('second')];
    const removeAs = (who: Session, id = '') => people.as(who, (by) => people.documents.remove(id, by));
    expect(await kindOf(removeAs(other, ids[0]))).toBe('forbidden');
    await removeAs(one, ids[0]);
    await removeAs(boss, ids[1]);
    expect(await kindOf(removeAs(boss, ids[1]))).toBe('not_found');
  });

  test('that is private is not there for other members, nor for another tenant’s owner', async () => {
    const [owner, stranger] = [await people.found(), await people.found()];
    const [one, other] = [await people.join(owner, 'member'), await people.join(owner, 'member')];
    const { receipt } = await people.rig.upload(scopeOf(one), 'mine', { visibility: 'private' });
    for (const who of [other, stranger]) {
      await people.as(who, async (by) => {
        expect((await people.documents.list({ limit: 50 }, by)).items).toEqual([]);
        expect(await kindOf(people.documents.get(receipt.document_id, by))).toBe('not_found');
        expect(await kindOf(people.documents.remove(receipt.document_id, by))).toBe('not_found');
      });
    }
  });

  test('is listed page by page, names of private ones among the others', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    const expected: string[] = [];
    for (let i = 0; i < 7; i++) {
      const who = i % 3 === 0 ? owner : member;
      const { receipt } = await people.rig.upload(
        scopeOf(who),
        `number ${i}`,
        i % 2 === 0 ? { visibility: 'private' } : {},
      );
      expected.unshift(receipt.document_id);
    }
    const seen: string[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await people.as(owner, (by) => people.documents.list({ limit: 2, cursor }, by));
      seen.push(...page.items.map(({ id }) => id));
      if (page.next_cursor === null) break;
      cursor = page.next_cursor;
    }
    expect(seen).toEqual(expected);
  });

  test('shows its name to an administrator by the policy that was asked for, and by no other statement', async () => {
    const owner = await people.found();
    const member = await people.join(owner, 'member');
    await people.rig.upload(scopeOf(member), 'mine', { visibility: 'private' });
    const scope = { ...scopeOf(owner), traceId: newTraceId() };
    const rows = await runAs(scope, () => people.rig.database.tenant((sql) => sql`select 1 from documents`));
    expect(rows).toHaveLength(0);
    const inside = await runAs(scope, () =>
      people.rig.database.tenant(async (sql) => {
        await sql`select set_config('app.oversees', 'names', true)`;
        const changed = await sql`update documents set title = 'changed' returning 1`;
        return [...changed, ...(await sql`select 1 from chunks`), ...(await sql`select 1 from tasks`)];
      }),
    );
    expect(inside).toEqual([]);
  });
});
