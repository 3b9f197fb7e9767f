import { afterAll, describe, expect, test } from 'bun:test';
import OpenAI from 'openai';
import postgres from 'postgres';
import type { DomainEvent, NewWebhook } from '../../src/contracts/index.ts';
import { createDatabaseClock } from '../../src/db/database-clock.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createSealer } from '../../src/kernel/sealing.ts';
import { createDomainEventStream } from '../../src/queue/domain-event-stream.ts';
import { appendOutbox } from '../../src/repositories/outbox.ts';
import { createOutboxRelay } from '../../src/services/outbox-relay.ts';
import { createWebhookRequests, NotSent, type WebhookRequestsOptions } from '../../src/services/webhook-request.ts';
import { createWebhookSender, type WebhookSenderOptions } from '../../src/services/webhook-sender.ts';
import { createWebhooks } from '../../src/services/webhooks.ts';
import { eventually } from '../support/eventually.ts';
import { createRig } from '../support/rig.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

type Who = { tenantId: string; userId: string };

const closers: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
});

interface Received {
  path: string;
  host: string | null;
  headers: Record<string, string>;
  body: string;
}

/** Somebody who receives webhooks; `answer` says what they answer. */
function startReceiver(tls?: { key: string; cert: string }) {
  const received: Received[] = [];
  const state: { answer: (request: Received) => Response | Promise<Response> } = { answer: () => new Response() };
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    idleTimeout: 60,
    ...(tls && { tls }),
    async fetch(request) {
      const { pathname: path } = new URL(request.url);
      const headers = Object.fromEntries(request.headers);
      const one = { path, headers, host: request.headers.get('host'), body: await request.text() };
      received.push(one);
      return state.answer(one);
    },
  });
  closers.push(() => server.stop(true));
  return { received, state, port: server.port, url: `http://127.0.0.1:${server.port}/hook` };
}

/** A clock that stands still until it is told to go on, a minute after the database's; what waits on it waits in real time. */
function manualClock() {
  let now = Date.now() + 60_000;
  const clock: Clock = { ...systemClock, now: () => now };
  return {
    clock,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

const OLD_SECRET = 'the secret of the tests, before it was changed';
const sealerWith = (...secrets: string[]) => createSealer({ secrets, purpose: 'webhook secrets' });
const sealer = sealerWith(OLD_SECRET);

type Options = Omit<Partial<WebhookSenderOptions>, 'requests'> & { requests?: Partial<WebhookRequestsOptions> };

async function start(options: Options = {}) {
  const rig = await createRig();
  const admin = postgres(rig.db.adminUrl, { max: 2, onnotice: () => undefined });
  closers.push(rig.close, () => admin.end());
  const { database, clients, keys } = rig;
  const { requests: requestOptions, ...senderOptions } = options;
  const { clock, pass } = manualClock();
  const requests = createWebhookRequests({ allowPrivate: true, clock, ...requestOptions });
  const stream = createDomainEventStream({ clients, keys });
  await eventually('Redis is connected', () => stream.isReady());
  const relay = createOutboxRelay({ database, stream, clock: systemClock, ids: systemIds, logger: silentLogger });
  const webhooks = createWebhooks({ database, requests, sealer, ids: systemIds });
  const senderWith = (over: Partial<WebhookSenderOptions> = {}) =>
    createWebhookSender({
      database,
      requests,
      sealer,
      clock,
      random: () => 1,
      logger: silentLogger,
      ...senderOptions,
      ...over,
    });
  return {
    ...rig,
    admin,
    clock,
    pass,
    relay,
    webhooks,
    senderWith,
    sender: senderWith(),

    /** Something happens, and is on its way to the webhooks. */
    async happen(who: Who, title = 'Report'): Promise<void> {
      await rig.as(who, () =>
        database.tenant((sql) => appendOutbox(sql, 'document.deleted', { document_id: who.userId, title })),
      );
      await relay.relay();
    },

    make: (who: Who, url: string, events?: NewWebhook['events']) =>
      rig.as(who, () => webhooks.create({ url, ...(events && { events }) })),

    deliveries: async (who: Who, { id }: { id: string }) =>
      (await rig.as(who, () => webhooks.deliveries(id, { limit: 100 }))).items,
  };
}

/** The official library of another vendor that follows the same convention; throws for what it does not trust. */
async function verify({ body, headers }: Received, secret: string): Promise<void> {
  await new OpenAI({ apiKey: 'none' }).webhooks.verifySignature(body, headers, secret);
}

describe('a webhook', () => {
  test('is sent what happened, signed so that an independent implementation trusts it and nothing else', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const webhook = await rig.make(who, receiver.url);
    const title = 'A "title", with \\ {braces}, \'quotes\' — 数据';
    await rig.happen(who, title);
    expect(await rig.sender.send()).toBe(1);

    const [request] = receiver.received;
    if (!request) throw new Error('nothing was received');
    await verify(request, webhook.secret);
    await expect(verify({ ...request, body: `${request.body} ` }, webhook.secret)).rejects.toThrow();
    const late = { ...request, headers: { ...request.headers, 'webhook-timestamp': '1700000000' } };
    await expect(verify(late, webhook.secret)).rejects.toThrow();
    const other = await rig.make(who, receiver.url, ['turn.failed']);
    await expect(verify(request, other.secret)).rejects.toThrow();

    const event = JSON.parse(request.body) as DomainEvent;
    expect(event).toMatchObject({ v: 1, type: 'document.deleted', tenant_id: who.tenantId, data: { title } });
    expect(request.headers).toMatchObject({
      'webhook-id': event.id,
      'content-type': 'application/json',
      'user-agent': 'DreamHub-Webhooks/1',
    });
    expect(await rig.deliveries(who, webhook)).toMatchObject([
      { event_id: event.id, type: event.type, status: 'delivered', attempts: 1, last_status: 200, last_error: null },
    ]);
    expect(await rig.sender.send()).toBe(0);
  });

  test('shows its secret once, and the database shows it to no tenant', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const { secret, ...made } = await rig.make(who, 'https://hooks.example.com/x', ['turn.failed', 'turn.failed']);
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    expect(made).toMatchObject({ events: ['turn.failed'], active: true });
    const list = await rig.as(who, () => rig.webhooks.list({ limit: 10 }));
    expect(list).toEqual({ items: [made], next_cursor: null });
    const read = rig.as(who, () => rig.database.tenant((sql) => sql`select secret from webhooks`));
    await expect(read).rejects.toThrow('permission denied');
  });

  test('is sent the types it asked for alone, its own tenant’s alone, and nothing once it is deleted', async () => {
    const rig = await start();
    const [who, other] = [await rig.newTenant(), await rig.newTenant()];
    const receiver = startReceiver();
    await rig.make(who, `${receiver.url}/all`);
    await rig.make(who, `${receiver.url}/turns`, ['turn.completed', 'turn.failed']);
    const gone = await rig.make(who, `${receiver.url}/gone`);
    await rig.make(other, `${receiver.url}/other`);
    await rig.happen(who);
    await rig.as(who, () => rig.webhooks.remove(gone.id));
    await rig.sender.send();
    expect(receiver.received.map(({ path }) => path)).toEqual(['/hook/all']);
    await expect(rig.as(who, () => rig.webhooks.remove(gone.id))).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('belongs to its tenant: nobody else reads or deletes it', async () => {
    const rig = await start();
    const [who, stranger] = [await rig.newTenant(), await rig.newTenant()];
    const receiver = startReceiver();
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    expect((await rig.as(stranger, () => rig.webhooks.list({ limit: 10 }))).items).toEqual([]);
    for (const reach of [
      () => rig.webhooks.remove(webhook.id),
      () => rig.webhooks.deliveries(webhook.id, { limit: 5 }),
    ]) {
      await expect(rig.as(stranger, async () => reach())).rejects.toMatchObject({ kind: 'not_found' });
    }
    const seen = await rig.as(stranger, () =>
      rig.database.tenant((sql) => sql`select id from webhook_deliveries union all select id from webhooks`),
    );
    expect(seen).toHaveLength(0);
  });

  test('is one of twenty at most', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    for (let i = 0; i < 20; i += 1) await rig.make(who, `https://hooks.example.com/${i}`);
    await expect(rig.make(who, 'https://hooks.example.com/more')).rejects.toMatchObject({ kind: 'conflict' });
  });

  test('gets an event once although the relay published it twice', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const webhook = await rig.make(who, receiver.url);
    await rig.as(who, () =>
      rig.database.tenant((sql) => appendOutbox(sql, 'document.deleted', { document_id: who.userId, title: 'x' })),
    );
    await rig.admin`create table kept as select * from outbox`;
    await rig.relay.relay();
    await rig.admin`insert into outbox overriding system value select * from kept`;
    await rig.relay.relay();
    expect(await rig.clients.ops.xlen(rig.keys.domainEvents(who.tenantId))).toBe(2);
    await rig.sender.send();
    expect(receiver.received).toHaveLength(1);
    expect(await rig.deliveries(who, webhook)).toHaveLength(1);
  });
});

describe('a delivery that fails', () => {
  test('is tried again by a doubling schedule with the same body and id, and given up after fourteen attempts', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    receiver.state.answer = () => new Response('busy', { status: 503 });
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 14; attempt += 1) {
      expect(await rig.sender.send()).toBe(1);
      const [delivery] = await rig.deliveries(who, webhook);
      expect(delivery).toMatchObject({ attempts: attempt, last_status: 503, last_error: 'The answer was 503.' });
      if (attempt === 14) break;
      const wait = Date.parse(delivery?.next_attempt_at ?? '') - rig.clock.now();
      waits.push(wait / 1_000);
      rig.pass(wait - 1);
      expect(await rig.sender.send()).toBe(0);
      rig.pass(1);
    }
    expect(waits).toEqual([10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120, 10_240, 20_480, 40_960]);
    expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'failed', next_attempt_at: null }]);
    rig.pass(86_400_000);
    expect(await rig.sender.send()).toBe(0);
    expect(new Set(receiver.received.map(({ body, headers }) => `${headers['webhook-id']} ${body}`)).size).toBe(1);
    const stamps = receiver.received.map(({ headers }) => Number(headers['webhook-timestamp']));
    expect(stamps).toEqual([...stamps].sort((a, b) => a - b));
    expect(new Set(stamps).size).toBe(14);
  });

  test('waits by full jitter: anywhere between nothing and its turn of the schedule', async () => {
    const draws = [0, 0.5, 0.25];
    const rig = await start({ random: () => draws.shift() ?? 1 });
    const who = await rig.newTenant();
    const receiver = startReceiver();
    receiver.state.answer = () => new Response(null, { status: 500 });
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    for (const expected of [0, 10_000, 10_000]) {
      await rig.sender.send();
      const [delivery] = await rig.deliveries(who, webhook);
      const wait = Date.parse(delivery?.next_attempt_at ?? '') - rig.clock.now();
      expect(wait).toBe(expected);
      rig.pass(wait);
    }
  });

  test('succeeds when its receiver is back', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    receiver.state.answer = () => new Response(null, { status: 500 });
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    await rig.sender.send();
    receiver.state.answer = () => new Response(null, { status: 202 });
    rig.pass(10_000);
    await rig.sender.send();
    expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'delivered', attempts: 2, last_status: 202 }]);
  });

  test('that asks for time with Retry-After gets it, however it says so, and not for ever', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    await rig.make(who, receiver.url);
    await rig.happen(who);
    for (const { says, ms } of [
      { says: () => '3600', ms: 3_600_000 },
      { says: () => new Date(rig.clock.now() + 7_200_000).toUTCString(), ms: 7_199_000 },
      { says: () => '99999999', ms: 86_400_000 },
    ]) {
      receiver.state.answer = () => new Response(null, { status: 503, headers: { 'retry-after': says() } });
      expect(await rig.sender.send()).toBe(1);
      rig.pass(ms - 1_000);
      expect(await rig.sender.send()).toBe(0);
      rig.pass(2_001);
    }
    receiver.state.answer = () => new Response(null, { status: 503, headers: { 'retry-after': 'soon' } });
    expect(await rig.sender.send()).toBe(1);
    // Its own pauses are longer where the receiver asks for less: 10 s × 2³ by now.
    rig.pass(79_999);
    expect(await rig.sender.send()).toBe(0);
    rig.pass(1);
    expect(await rig.sender.send()).toBe(1);
  });

  test.each([301, 302, 307, 308, 400, 404])('with %d is tried again, and no redirect is followed', async (status) => {
    const rig = await start();
    const who = await rig.newTenant();
    const [receiver, elsewhere] = [startReceiver(), startReceiver()];
    receiver.state.answer = () => new Response(null, { status, headers: { location: elsewhere.url } });
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    await rig.sender.send();
    expect(elsewhere.received).toEqual([]);
    expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'pending', attempts: 1, last_status: status }]);
  });

  test('with 410 ends the webhook and everything that waits for it', async () => {
    const rig = await start({ tenantConcurrency: 1 });
    const who = await rig.newTenant();
    const receiver = startReceiver();
    receiver.state.answer = () => new Response(null, { status: 410 });
    const webhook = await rig.make(who, receiver.url);
    for (const title of ['one', 'two', 'three']) await rig.happen(who, title);
    expect(await rig.sender.send()).toBe(1);
    const { items } = await rig.as(who, () => rig.webhooks.list({ limit: 10 }));
    expect(items).toMatchObject([{ active: false, deactivated_reason: 'The answer was 410.' }]);
    const ended = await rig.deliveries(who, webhook);
    expect(ended.map(({ status }) => status)).toEqual(['failed', 'failed', 'failed']);
    await rig.happen(who, 'four');
    rig.pass(86_400_000);
    expect(await rig.sender.send()).toBe(0);
    expect(receiver.received).toHaveLength(1);
  });

  test('because nothing is answered in time, or nobody is there, says so', async () => {
    const rig = await start({ requests: { timeoutMs: 50 } });
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const release = Promise.withResolvers<Response>();
    receiver.state.answer = () => release.promise;
    const slow = await rig.make(who, receiver.url);
    const nobody = startReceiver();
    const away = await rig.make(who, 'http://127.0.0.1:1/hook');
    const unknown = await rig.make(who, 'http://nobody.invalid/hook');
    await rig.happen(who);
    expect(await rig.sender.send()).toBe(3);
    release.resolve(new Response());
    expect(await rig.deliveries(who, slow)).toMatchObject([
      { last_status: null, last_error: 'No answer within 0.05 s.' },
    ]);
    expect((await rig.deliveries(who, away))[0]?.last_error).toStartWith('The request failed: ');
    expect((await rig.deliveries(who, unknown))[0]?.last_error).toBe('The name of the host cannot be resolved.');
    expect(nobody.received).toEqual([]);
  });

  test('is claimed again when whoever tried it died, and the dead one’s result counts no more', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const reached = Promise.withResolvers<void>();
    const thaw = Promise.withResolvers<void>();
    receiver.state.answer = async () => {
      reached.resolve();
      if (receiver.received.length > 1) return new Response(null, { status: 204 });
      await thaw.promise;
      return new Response(null, { status: 500 });
    };
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    const zombie = rig.sender.send();
    await reached.promise;
    expect(await rig.senderWith().send()).toBe(0);
    rig.pass(120_001);
    expect(await rig.senderWith().send()).toBe(1);
    thaw.resolve();
    await zombie;
    expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'delivered', attempts: 2, last_status: 204 }]);
  });
});

describe('the sender', () => {
  test('gives a tenant’s slow receivers a part of its slots alone', async () => {
    const rig = await start({ concurrency: 6, tenantConcurrency: 2 });
    const [slow, quick] = [await rig.newTenant(), await rig.newTenant()];
    const [stuck, fine] = [startReceiver(), startReceiver()];
    const release = Promise.withResolvers<Response>();
    stuck.state.answer = () => release.promise.then(() => new Response());
    await rig.make(slow, stuck.url);
    await rig.make(quick, fine.url);
    for (let i = 0; i < 10; i += 1) await rig.happen(slow, `${i}`);
    const sender = rig.senderWith({ everyMs: 5 });
    await sender.start();
    await eventually('the slow one is at work', () => stuck.received.length === 2);
    for (let i = 0; i < 5; i += 1) await rig.happen(quick, `${i}`);
    await eventually('the other is served', () => fine.received.length === 5);
    expect(stuck.received).toHaveLength(2);
    release.resolve(new Response());
    await eventually('the slow one is served too', () => stuck.received.length === 10);
    await sender.stop();
  }, 30_000);

  test('of a tenant whose receivers answer comes before the backlogs of those whose do not, however old', async () => {
    const rig = await start({ concurrency: 4, tenantConcurrency: 2 });
    const broken = startReceiver();
    broken.state.answer = () => new Response('', { status: 500 });
    for (const who of [await rig.newTenant(), await rig.newTenant()]) {
      await rig.make(who, broken.url);
      for (let event = 0; event < 6; event++) await rig.happen(who, `old ${event}`);
    }
    const well = startReceiver();
    const who = await rig.newTenant();
    await rig.make(who, well.url);
    await rig.happen(who, 'first');
    for (let round = 0; round < 2; round++) await rig.sender.send();
    expect(well.received).toHaveLength(1);
    await rig.happen(who, 'second');
    await rig.sender.send();
    expect(well.received).toHaveLength(2);
    // They have their turns all the same.
    while ((await rig.sender.send()) > 0) expect(broken.received.length).toBeLessThanOrEqual(12);
    expect(broken.received).toHaveLength(12);
  });

  test('goes by the database’s clock, however wrong its own is: others’ pauses and attempts stay theirs', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    receiver.state.answer = () => new Response(null, { status: 503 });
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    const off = (ms: number): Clock => ({ ...systemClock, now: () => systemClock.now() + ms });
    const senderOff = (ms: number) =>
      rig.senderWith({ clock: createDatabaseClock({ database: rig.database, clock: off(ms) }) });
    const [ahead, behind] = [senderOff(86_400_000), senderOff(-86_400_000)];
    expect(await behind.send()).toBe(1);
    // It waits for ten seconds, by whichever clock that is looked at.
    expect(await ahead.send()).toBe(0);
    expect(await behind.send()).toBe(0);
    const [delivery] = await rig.deliveries(who, webhook);
    const wait = Date.parse(delivery?.next_attempt_at ?? '') - systemClock.now();
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThan(60_000);
    // Signed by a clock that receivers, who refuse what is old or to come, have too.
    for (const one of receiver.received) await verify(one, webhook.secret);
    receiver.state.answer = () => new Response(null, { status: 204 });
    await rig.admin`update webhook_deliveries set next_at = now() - interval '1 second'`;
    expect(await ahead.send()).toBe(1);
    for (const one of receiver.received) await verify(one, webhook.secret);
    expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'delivered', attempts: 2 }]);
  });

  test('that stops hands its requests back uncounted', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const reached = Promise.withResolvers<void>();
    const never = Promise.withResolvers<Response>();
    receiver.state.answer = () => {
      reached.resolve();
      return never.promise;
    };
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    const sender = rig.senderWith({ everyMs: 5 });
    await sender.start();
    await sender.start();
    await reached.promise;
    await Promise.all([sender.stop(), sender.stop()]);
    expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'pending', attempts: 0 }]);
    receiver.state.answer = () => new Response();
    await sender.start();
    await eventually('it is delivered', async () => (await rig.deliveries(who, webhook))[0]?.status === 'delivered');
    await sender.stop();
    never.resolve(new Response());
  });

  test('forgets what ended a week ago', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    await rig.sender.send();
    rig.pass(7 * 86_400_000 - 1);
    await rig.senderWith().send();
    expect(await rig.deliveries(who, webhook)).toHaveLength(1);
    rig.pass(2);
    await rig.senderWith().send();
    expect(await rig.deliveries(who, webhook)).toEqual([]);
  });
});

describe('an address inside our network', () => {
  const resolvesTo =
    (...addresses: string[]) =>
    async () =>
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  const strict = (over: Partial<WebhookRequestsOptions> = {}) =>
    createWebhookRequests({ allowPrivate: false, clock: systemClock, ...over });
  const post = (requests: ReturnType<typeof strict>, url: string) =>
    requests.post({ url, headers: {}, body: '{}', signal: new AbortController().signal });

  test.each([
    'http://127.0.0.1/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f.0.0.1/',
    'http://0177.0.0.1/',
    'http://①②⑦.0.0.1/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://[fd00::1]/',
    'http://10.1.2.3/',
    'http://169.254.169.254/latest/meta-data/',
    'http://0.0.0.0/',
    'http://localhost/',
    'ftp://8.8.8.8/',
    'file:///etc/passwd',
    'unix:/tmp/redis.sock',
    'http://user:password@8.8.8.8/',
  ])('%s is refused, when it is named and when it is called', async (url) => {
    const requests = strict();
    await expect(requests.assertAllowed(url)).rejects.toBeInstanceOf(NotSent);
    await expect(post(requests, url)).rejects.toBeInstanceOf(NotSent);
  });

  test.each([[['127.0.0.1']], [['93.184.215.14', '10.0.0.1']], [['::1']], [['2606:4700::1', 'fe80::1']]])(
    'is refused behind a name that resolves to %p',
    async (addresses) => {
      const requests = strict({ resolve: resolvesTo(...addresses) });
      await expect(requests.assertAllowed('https://innocent.example/')).rejects.toBeInstanceOf(NotSent);
      await expect(post(requests, 'https://innocent.example/')).rejects.toThrow('not on the public internet');
    },
  );

  test('is not reached by a name that means something else a moment later: what was looked at is what is called', async () => {
    const receiver = startReceiver();
    let lookups = 0;
    const requests = createWebhookRequests({
      allowPrivate: true,
      clock: systemClock,
      async resolve() {
        lookups += 1;
        return [{ address: lookups === 1 ? '127.0.0.1' : '127.0.0.99', family: 4 }];
      },
    });
    expect(await post(requests, `http://rebinding.example:${receiver.port}/hook`)).toMatchObject({ status: 200 });
    expect(lookups).toBe(1);
    expect(receiver.received[0]?.host).toBe(`rebinding.example:${receiver.port}`);
  });

  test('is said to whoever names it', async () => {
    const rig = await start({ requests: { allowPrivate: false } });
    const who = await rig.newTenant();
    await expect(rig.make(who, 'http://169.254.169.254/')).rejects.toMatchObject({
      kind: 'invalid_request',
      errors: [{ path: '/url', message: 'The host is not on the public internet.' }],
    });
    await expect(rig.make(who, 'no url')).rejects.toMatchObject({ kind: 'invalid_request' });
    expect(await rig.make(who, 'https://93.184.215.14/')).toMatchObject({ active: true });
  });
});

test('HTTPS is spoken with the name that was asked for, and only with who can prove it', async () => {
  const folder = await temporaryFolder();
  closers.push(() => folder.remove());
  const [key, cert] = [`${folder.path}/key.pem`, `${folder.path}/cert.pem`];
  const made = Bun.spawnSync([
    ...['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
    ...['-keyout', key, '-out', cert, '-subj', '/CN=x', '-addext', 'subjectAltName=DNS:hooks.example'],
  ]);
  expect(made.exitCode).toBe(0);
  const ca = await Bun.file(cert).text();
  const receiver = startReceiver({ key: await Bun.file(key).text(), cert: ca });
  const resolve = async () => [{ address: '127.0.0.1', family: 4 }];
  const send = (host: string, options: Partial<WebhookRequestsOptions>) =>
    createWebhookRequests({ allowPrivate: true, clock: systemClock, resolve, ...options }).post({
      url: `https://${host}:${receiver.port}/hook`,
      headers: {},
      body: '{}',
      signal: new AbortController().signal,
    });
  expect(await send('hooks.example', { ca })).toMatchObject({ status: 200 });
  await expect(send('other.example', { ca })).rejects.toBeInstanceOf(NotSent);
  await expect(send('hooks.example', {})).rejects.toBeInstanceOf(NotSent);
  expect(receiver.received).toHaveLength(1);
});

describe('the secret of a webhook', () => {
  const stored = async (rig: Awaited<ReturnType<typeof start>>) => {
    const [row] = await rig.admin<{ secret: Uint8Array; sealed: boolean }[]>`select secret, sealed from webhooks`;
    if (!row) throw new Error('there is none');
    return row;
  };

  test('is sealed in the database, and not to be opened in another row', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const webhook = await rig.make(who, startReceiver().url);
    const { secret, sealed } = await stored(rig);
    const plain = Buffer.from(webhook.secret.replace('whsec_', ''), 'base64');
    expect(sealed).toBe(true);
    expect(Buffer.from(secret).includes(plain)).toBe(false);
    expect(Buffer.from(sealer.open(secret, `${who.tenantId} ${webhook.id}`)).equals(plain)).toBe(true);
    expect(() => sealer.open(secret, `${who.tenantId} ${crypto.randomUUID()}`)).toThrow();
  });

  test('from before they were sealed, or under an old key, signs as before and is sealed anew', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const webhook = await rig.make(who, receiver.url);
    const plain = Buffer.from(webhook.secret.replace('whsec_', ''), 'base64');
    await rig.admin`update webhooks set secret = ${plain}, sealed = false`;
    const rotated = sealerWith('a newer secret of the tests, of 32 bytes and more', OLD_SECRET);
    for (const current of [sealer, rotated]) {
      await rig.happen(who);
      expect(await rig.senderWith({ sealer: current }).send()).toBe(1);
      const request = receiver.received.at(-1);
      if (!request) throw new Error('nothing was received');
      await verify(request, webhook.secret);
      const { secret, sealed } = await stored(rig);
      expect([sealed, current.isOld(secret)]).toEqual([true, false]);
    }
    expect(sealer.isOld((await stored(rig)).secret)).toBe(true);
  });

  test('is left to others by a process that cannot open it, and no attempt is counted', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const receiver = startReceiver();
    const webhook = await rig.make(who, receiver.url);
    await rig.happen(who);
    for (const foreign of [undefined, sealerWith('somebody else, with a secret that is long enough')]) {
      await rig.senderWith({ sealer: foreign }).send();
      expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'pending', attempts: 0 }]);
      rig.pass(60_001);
    }
    expect(receiver.received).toHaveLength(0);
    expect(await rig.sender.send()).toBe(1);
    expect(await rig.deliveries(who, webhook)).toMatchObject([{ status: 'delivered', attempts: 1 }]);
  });
});
