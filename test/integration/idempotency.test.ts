/** `Idempotency-Key` over the real database and the real app; what the services do is counted. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test';
import { once } from 'node:events';
import { connect } from 'node:net';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { conversation, receipt, syncedSource } from '../../src/http/examples.ts';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createSealer } from '../../src/kernel/sealing.ts';
import { createIdempotency, createIdempotencySweep } from '../../src/services/idempotency.ts';
import { eventually } from '../support/eventually.ts';
import { concrete, createHttpApp, type HttpApp, json, principal, SECRET } from '../support/http-app.ts';
import { createTestDatabase, type TestDatabase } from '../support/services.ts';

let db: TestDatabase;
let admin: postgres.Sql;
let database: ReturnType<typeof createDatabase>;
const other = { ...principal, userId: crypto.randomUUID() };
const tokens = createAccessTokens({ secrets: [SECRET], clock: systemClock });
const sealer = createSealer({ secrets: [SECRET], purpose: 'idempotent answers' });

beforeAll(async () => {
  db = await createTestDatabase();
  admin = postgres(db.adminUrl, { max: 2, onnotice: () => {} });
  database = createDatabase({ url: db.url, max: 10, embedded: false });
  await admin`insert into tenants (id, name) values (${principal.tenantId}, 'one')`;
  for (const { userId } of [principal, other]) {
    await admin`insert into accounts (id, tenant_id, email, password_hash)
      values (${userId}, ${principal.tenantId}, ${`${userId}@example.com`}, '-')`;
  }
}, 60_000);
afterAll(async () => {
  await database.close();
  await admin.end();
  await db.drop();
});
beforeEach(async () => {
  await admin`delete from idempotency_keys`;
});

const storeWith = (leaseMs?: number) =>
  createIdempotency({
    database,
    sealer,
    clock: systemClock,
    ids: systemIds,
    logger: silentLogger,
    ...(leaseMs !== undefined && { leaseMs }),
  });

type Overrides = Parameters<typeof createHttpApp>[0];

const appWith = (overrides: Overrides, leaseMs?: number): HttpApp =>
  createHttpApp(overrides, { idempotency: storeWith(leaseMs) });

/** An app whose conversations are counted; each has a name of its own. */
function counting(leaseMs?: number) {
  let count = 0;
  const app = appWith(
    {
      conversations: {
        async create() {
          count += 1;
          return { ...conversation, title: `number ${count}` };
        },
      },
    },
    leaseMs,
  );
  return { app, count: () => count };
}

const create = (app: HttpApp, key: string, title = 'x', headers: Record<string, string> = {}) => {
  const request = json({ title });
  return app.call('POST', '/api/v1/conversations', {
    ...request,
    headers: { ...request.headers, 'idempotency-key': key, ...headers },
  });
};

const rows = async () => Number((await admin`select count(*) as n from idempotency_keys`)[0]?.['n']);

describe('a request that comes twice with one key', () => {
  test('has one effect and one answer, in status, headers and body', async () => {
    const { app, count } = counting();
    const [first, second] = [await create(app, 'k'), await create(app, '"k"')];
    expect([first.status, second.status, count()]).toEqual([201, 201, 1]);
    expect(await second.text()).toBe(await first.text());
    expect(second.headers.get('content-type')).toBe(first.headers.get('content-type') ?? '');
    expect([first, second].map(({ headers }) => headers.get('idempotency-replayed'))).toEqual([null, 'true']);
  });

  test('is refused with 422 where it is another request', async () => {
    const { app, count } = counting();
    await create(app, 'k', 'one title');
    const elsewhere = { ...json({}), headers: { 'content-type': 'application/json', 'idempotency-key': 'k' } };
    for (const response of [
      await create(app, 'k', 'another'),
      await app.call('POST', '/api/v1/ws/tickets', elsewhere),
    ]) {
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({ code: 'invalid_request', errors: [{ path: 'Idempotency-Key' }] });
    }
    expect(count()).toBe(1);
  });

  test('has one effect when it comes twenty times at once; the others are told to come again', async () => {
    const { app, count } = counting();
    const responses = await Promise.all(Array.from({ length: 20 }, () => create(app, 'k')));
    const statuses = new Set(responses.map(({ status }) => status));
    expect(count()).toBe(1);
    expect([...statuses].every((status) => status === 201 || status === 409)).toBe(true);
    expect((await create(app, 'k')).status).toBe(201);
    expect(count()).toBe(1);
  });

  test('is told 409 with Retry-After while the first one runs', async () => {
    const [entered, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const app = appWith({
      conversations: {
        async create() {
          entered.resolve();
          await go.promise;
          return conversation;
        },
      },
    });
    const first = create(app, 'k');
    await entered.promise;
    const second = await create(app, 'k');
    expect([second.status, second.headers.get('retry-after')]).toEqual([409, '1']);
    expect(await second.json()).toMatchObject({ code: 'conflict' });
    go.resolve();
    expect((await first).status).toBe(201);
    expect((await create(app, 'k')).status).toBe(201);
  });

  test("is another user's own business", async () => {
    const { app, count } = counting();
    await create(app, 'k');
    const authorization = `Bearer ${await tokens.sign(other, 900)}`;
    expect((await create(app, 'k', 'something else', { authorization })).status).toBe(201);
    expect(count()).toBe(2);
  });

  test('runs again where it failed: nothing had happened', async () => {
    let fail = true;
    const app = appWith({
      conversations: {
        async create() {
          if (fail) throw new AppError('unavailable', 'away');
          return conversation;
        },
      },
    });
    expect((await create(app, 'k')).status).toBe(503);
    expect(await rows()).toBe(0);
    fail = false;
    expect((await create(app, 'k')).status).toBe(201);
  });

  test('is answered with nothing again where there was nothing', async () => {
    const removed: string[] = [];
    const app = appWith({ documents: { remove: async () => void removed.push('it') } });
    const remove = () =>
      app.call('DELETE', `/api/v1/documents/${conversation.id}`, { headers: { 'idempotency-key': 'k' } });
    const statuses = [(await remove()).status, (await remove()).status];
    expect([...statuses, removed.length]).toEqual([204, 204, 1]);
  });
});

describe('a key', () => {
  test('leaves nothing where it is not sent, and does not count on what only reads', async () => {
    const { app } = counting();
    await app.call('POST', '/api/v1/conversations', json({}));
    await app.call('GET', '/api/v1/me', { headers: { 'idempotency-key': 'k' } });
    expect(await rows()).toBe(0);
  });

  test.each(['', ' ', 'ä', '"', 'two words', 'k'.repeat(256)])(
    'must be printable and of normal length: %p',
    async (key) => {
      const { app, count } = counting();
      const response = await create(app, key);
      expect([response.status, count()]).toEqual([400, 0]);
    },
  );

  test('of a stranger is not looked at', async () => {
    const { app } = counting();
    expect((await create(app, 'k', 'x', { authorization: 'Bearer nonsense' })).status).toBe(401);
    expect(await rows()).toBe(0);
  });

  test('and what was answered cannot be read in the database', async () => {
    const { app } = counting();
    await create(app, 'a-telling-key');
    const [row] = await admin<
      { all: string }[]
    >`select encode(answer, 'escape') || encode(key_hash, 'escape') as all from idempotency_keys`;
    expect(row?.all).toBeString();
    expect(row?.all).not.toContain('number 1');
    expect(row?.all).not.toContain('telling');
  });

  test('is free again after a day, and swept', async () => {
    const { app, count } = counting();
    await create(app, 'k');
    await create(app, 'young');
    await admin`update idempotency_keys set created_at = now() - interval '25 hours'
      where ctid = (select ctid from idempotency_keys order by created_at limit 1)`;
    expect((await create(app, 'k', 'another')).status).toBe(201);
    expect(count()).toBe(3);
    await admin`update idempotency_keys set created_at = now() - interval '25 hours'
      where ctid = (select ctid from idempotency_keys order by created_at limit 1)`;
    const sweep = createIdempotencySweep({ database, clock: systemClock, logger: silentLogger });
    await sweep.start();
    await eventually('the old one is gone', async () => (await rows()) === 1);
    await sweep.stop();
    expect(await rows()).toBe(1);
  });
});

describe('a process that dies in the middle', () => {
  /** It took the key, and is never heard of again. */
  async function die(bodyOf: HttpApp) {
    const hanging = Promise.withResolvers<void>();
    const dying = appWith({
      conversations: {
        async create() {
          hanging.resolve();
          return new Promise<never>(() => {});
        },
      },
    });
    void create(dying, 'k');
    await hanging.promise;
    expect((await create(bodyOf, 'k')).status).toBe(409);
    await admin`update idempotency_keys set leased_until = now() - interval '1 second'`;
  }

  test('loses the key to the same request, and to no other', async () => {
    const { app, count } = counting();
    await die(app);
    expect((await create(app, 'k', 'another')).status).toBe(422);
    expect([(await create(app, 'k')).status, count()]).toEqual([201, 1]);
    expect([(await create(app, 'k')).status, count()]).toEqual([201, 1]);
  });

  test('changes nothing any more when it was not dead', async () => {
    const scope = { tenantId: principal.tenantId, userId: principal.userId, traceId: newTraceId() };
    await runAs(scope, async () => {
      const store = storeWith();
      const request = { key: 'k', target: 'POST /', bodyHash: new Uint8Array(32) };
      const late = await store.admit(request);
      await admin`update idempotency_keys set leased_until = now() - interval '1 second'`;
      const next = await store.admit(request);
      if (late.type !== 'run' || next.type !== 'run') throw new Error('both run');
      const answer = (text: string) => ({ status: 200, headers: [], body: new Uint8Array(Buffer.from(text)) });
      await late.running.failed();
      await next.running.answered(request.bodyHash, answer('next'));
      await late.running.answered(request.bodyHash, answer('late'));
      const repeated = await store.admit(request);
      expect(repeated.type === 'repeat' && Buffer.from(repeated.answer.body).toString()).toBe('next');
    });
  });

  test('is told from one that takes long, which renews', async () => {
    const go = Promise.withResolvers<void>();
    const app = appWith(
      {
        conversations: {
          async create() {
            await go.promise;
            return conversation;
          },
        },
      },
      3_000,
    );
    const lease = async () =>
      (await admin<{ until: Date }[]>`select leased_until as until from idempotency_keys`)[0]?.until.getTime() ?? 0;
    const running = create(app, 'k');
    await eventually('it runs', async () => (await lease()) > 0);
    const first = await lease();
    await eventually('it renews', async () => (await lease()) > first);
    go.resolve();
    expect((await running).status).toBe(201);
  });
});

describe('an upload', () => {
  const formOf = (boundary: string, text: string) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n${text}\r\n--${boundary}--\r\n`;

  function uploading() {
    const sizes: number[] = [];
    const first = Promise.withResolvers<void>();
    const app = appWith({
      uploads: {
        async accept({ body }) {
          let size = body instanceof Uint8Array ? body.byteLength : 0;
          if (body instanceof ReadableStream) {
            for await (const piece of body) {
              size += piece.byteLength;
              first.resolve();
            }
          }
          sizes.push(size);
          return { receipt, created: true };
        },
      },
    });
    const send = (body: BodyInit, boundary: string, length?: number) =>
      app.call('POST', '/api/v1/upload', {
        body,
        headers: {
          'content-type': `multipart/form-data; boundary=${boundary}`,
          'idempotency-key': 'k',
          ...(length !== undefined && { 'content-length': String(length) }),
        },
      });
    return { send, sizes, first: first.promise };
  }

  test.each([
    ['small', 100],
    ['large', 300_000],
  ])('that is %s and sent again in a form of its own is answered as before', async (_, size) => {
    const { send, sizes } = uploading();
    const sendText = (boundary: string, text: string) => {
      const body = formOf(boundary, text);
      return send(body, boundary, body.length);
    };
    const first = await sendText('one', 'x'.repeat(size));
    const again = await sendText('another-boundary', 'x'.repeat(size));
    expect([first.status, again.status, sizes.length]).toEqual([202, 202, 1]);
    expect(await again.text()).toBe(await first.text());
    expect((await sendText('one', `y${'x'.repeat(size - 1)}`)).status).toBe(422);
    expect(sizes).toHaveLength(1);
  });

  test('is handed on while it still arrives', async () => {
    const { send, sizes, first } = uploading();
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const writer = writable.getWriter();
    const answered = send(readable, 'one');
    await writer.write(Buffer.from('--one\r\n'));
    await first;
    await writer.write(Buffer.from('the rest'));
    await writer.close();
    expect((await answered).status).toBe(202);
    expect(sizes).toEqual([15]);
  });
});

describe('over a real socket', () => {
  /** Bun's router, which says what the parts of an address are, works for a server that listens alone. */
  async function listening(overrides: Overrides = {}) {
    const { app, token } = appWith(overrides);
    app.listen({ port: 0, hostname: '127.0.0.1' });
    const bearer = `Bearer ${await token('owner')}`;
    const call = (method: string, path: string, init: RequestInit & { headers?: Record<string, string> } = {}) =>
      fetch(`http://127.0.0.1:${app.server?.port}${path}`, {
        ...init,
        method,
        headers: { authorization: bearer, ...init.headers },
      });
    return { app, call, bearer, [Symbol.asyncDispose]: async () => void (await app.stop(true)) };
  }

  test('every route with an id in its address is the same one with a key', async () => {
    await using server = await listening();
    const routes = server.app.routes.filter(
      ({ method, path }) => /^(POST|PUT|PATCH|DELETE)$/.test(method) && /^\/api\/v1\/.*:id/.test(path),
    );
    expect(routes.length).toBeGreaterThan(10);
    for (const { method, path } of routes.filter((route) => !route.path.includes('/uploads/tus'))) {
      const at = concrete(path);
      const without = await server.call(method, at);
      const keyed = { 'idempotency-key': `${method}${path}` };
      const [first, again] = [
        await server.call(method, at, { headers: keyed }),
        await server.call(method, at, { headers: keyed }),
      ];
      expect([path, first.status]).toEqual([path, without.status]);
      if (first.ok) expect([path, again.status]).toEqual([path, first.status]);
    }
  });

  test('a request that names no host has one effect, too', async () => {
    const removed: string[] = [];
    await using server = await listening({ documents: { remove: async (id) => void removed.push(id) } });
    const send = async () => {
      const socket = connect(server.app.server?.port ?? 0, '127.0.0.1');
      socket.write(
        `DELETE /api/v1/documents/${conversation.id} HTTP/1.0\r\nAuthorization: ${server.bearer}\r\nIdempotency-Key: k\r\n\r\n`,
      );
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return bytes.toString('latin1').split(' ')[1];
    };
    expect([await send(), await send(), removed]).toEqual(['204', '204', [conversation.id]]);
  });

  test('the file of a source may be as large as without a key, and is hashed as it comes', async () => {
    const sizes: number[] = [];
    await using server = await listening({
      sources: {
        async putFile(_id, { body }) {
          let size = 0;
          for await (const piece of body ?? []) size += piece.byteLength;
          sizes.push(size);
          return syncedSource;
        },
      },
    });
    const put = (text: string) =>
      server.call('PUT', `/api/v1/sources/${conversation.id}/file`, {
        body: new Blob([text]).stream(),
        headers: { 'idempotency-key': 'k', 'content-type': 'text/calendar' },
      });
    const file = 'x'.repeat(2_000_000);
    expect([(await put(file)).status, (await put(file)).status]).toEqual([202, 202]);
    expect((await put(`y${file}`)).status).toBe(422);
    expect(sizes).toEqual([2_000_000]);
  });
});

test('what was streamed cannot be repeated, and does not happen again', async () => {
  let sent = 0;
  const app = createHttpApp(
    {
      chat: {
        async send() {
          sent += 1;
          return { turn_id: conversation.id, message_id: conversation.id, conversation_id: conversation.id };
        },
      },
    },
    {
      idempotency: storeWith(),
      hub: {
        async subscribe(_topic, reader) {
          reader.over?.();
          return () => undefined;
        },
      },
    },
  );
  const ask = () =>
    app.call('POST', `/api/v1/conversations/${conversation.id}/messages`, {
      body: JSON.stringify({ content: 'hello' }),
      headers: { 'content-type': 'application/json', accept: 'text/event-stream', 'idempotency-key': 'k' },
    });
  const first = await ask();
  expect(first.headers.get('content-type')).toStartWith('text/event-stream');
  await first.body?.cancel();
  const second = await ask();
  expect([second.status, sent]).toEqual([409, 1]);
  expect(await second.json()).toMatchObject({ code: 'conflict' });
});
