import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { DomainEvent, EmbeddingProvider } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createDomainEventStream, type DomainEventStream } from '../../src/queue/domain-event-stream.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { appendOutbox, claimOutbox } from '../../src/repositories/outbox.ts';
import { createOutboxRelay, type OutboxRelayOptions } from '../../src/services/outbox-relay.ts';
import { eventually } from '../support/eventually.ts';
import { createRig, linesOf, type RigOptions } from '../support/rig.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';

type Who = { tenantId: string; userId: string };

const closers: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
});

async function start(options: RigOptions = {}) {
  const rig = await createRig(options);
  const admin = postgres(rig.db.adminUrl, { max: 2, onnotice: () => undefined });
  closers.push(rig.close, () => admin.end());
  const { database, clients, keys } = rig;
  const stream = createDomainEventStream({ clients, keys });
  await eventually('Redis is connected', () => stream.isReady());

  return {
    ...rig,
    admin,
    stream,
    relayWith: (over: Partial<OutboxRelayOptions> = {}) =>
      createOutboxRelay({ database, stream, clock: systemClock, ids: systemIds, logger: silentLogger, ...over }),

    /** What a consumer of the tenant's stream reads, in order. */
    async read({ tenantId }: { tenantId: string }): Promise<DomainEvent[]> {
      const entries = await clients.ops.xrange(keys.domainEvents(tenantId), '-', '+');
      return entries.map(([, fields]) => JSON.parse(String(fields[1])) as DomainEvent);
    },

    /** What waits to be published, as its types. */
    async waiting({ tenantId }: { tenantId: string }): Promise<string[]> {
      const rows = await admin<{ type: string }[]>`select type from outbox where tenant_id = ${tenantId} order by seq`;
      return rows.map(({ type }) => type);
    },

    /** Events that say their number, each in a transaction of its own. */
    async happen(who: Who, from: number, to: number): Promise<void> {
      for (let i = from; i <= to; i += 1) {
        await rig.as(who, () =>
          database.tenant((sql) => appendOutbox(sql, 'document.deleted', { document_id: who.userId, title: `${i}` })),
        );
      }
    },
  };
}

const titles = (events: readonly DomainEvent[]) => events.map(({ data }) => Number('title' in data ? data.title : NaN));
const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

/** The first time that each event came. */
function firsts(events: readonly DomainEvent[]): DomainEvent[] {
  const seen = new Set<string>();
  return events.filter(({ id }) => !seen.has(id) && seen.add(id));
}

/** An embedder that can be made to fail. */
function shop() {
  const builtin = createBuiltinEmbeddings({ dimensions: 64 });
  const state = { open: true };
  const provider: EmbeddingProvider = {
    ...builtin,
    async embed(texts, options) {
      if (!state.open) throw new AppError('provider_unavailable', 'The provider is down.');
      return builtin.embed(texts, options);
    },
  };
  return { provider, state };
}

describe('an event', () => {
  test('is written with the change that it tells of, all through the life of documents and turns', async () => {
    const { provider, state } = shop();
    const rig = await start({ embeddings: provider, maxAttempts: 1 });
    const who = await rig.newTenant();
    const kept = await rig.upload(who, linesOf(3), { title: 'Kept' });
    await rig.deliver(who, 'ingest', kept.receipt.task_id);
    state.open = false;
    const dies = await rig.upload(who, linesOf(2, 'dies'), { title: 'Dies', visibility: 'private' });
    await rig.deliver(who, 'ingest', dies.receipt.task_id);
    state.open = true;
    const again = await rig.upload(who, linesOf(2, 'dies'), { visibility: 'private' });
    await rig.as(who, () => rig.tasks.cancel(again.receipt.task_id));
    await rig.as(who, () => rig.documents.remove(kept.receipt.document_id));
    const turn = await rig.as(who, () => rig.chat.send({ content: 'What is kept?' }));
    await rig.deliver(who, 'chat', turn.turn_id);

    const relay = rig.relayWith();
    expect(await relay.relay()).toEqual({ published: 9, more: false });
    const events = await rig.read(who);
    const { document_id, task_id } = kept.receipt;
    const down = { code: 'provider_unavailable', message: 'The provider is down.' };
    expect(events.map(({ type, data }) => ({ type, data: { ...data } }))).toMatchObject([
      { type: 'document.uploaded', data: { document_id, task_id, title: 'Kept', visibility: 'tenant' } },
      { type: 'document.ready', data: { document_id, task_id, title: 'Kept', chunks: 3, pages: null } },
      { type: 'document.uploaded', data: { title: 'Dies', visibility: 'private' } },
      { type: 'task.dead', data: { task_id: dies.receipt.task_id, attempt: 1, error: down } },
      { type: 'document.failed', data: { title: 'Dies', error: down } },
      { type: 'document.uploaded', data: { title: 'Dies', task_id: again.receipt.task_id } },
      { type: 'document.failed', data: { title: 'Dies', error: { code: 'cancelled' } } },
      { type: 'document.deleted', data: { document_id, title: 'Kept' } },
      { type: 'turn.completed', data: { turn_id: turn.turn_id, user_id: who.userId } },
    ]);
    for (const event of events) {
      expect(event).toMatchObject({ v: 1, tenant_id: who.tenantId });
      expect(event.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      const made = Number.parseInt(event.id.replace('-', '').slice(0, 12), 16);
      expect(Math.abs(made - Date.parse(event.occurred_at))).toBeLessThan(1_000);
    }
    expect(await rig.waiting(who)).toEqual([]);
    expect(await rig.clients.ops.ttl(rig.keys.domainEvents(who.tenantId))).toBeGreaterThan(600_000);
  });

  test('of a failed turn names it and says why', async () => {
    const rig = await start({
      chat: {
        model: 'x',
        provider: 'x',
        contextTokens: 1_000,
        countTokens: (text) => text.length,
        summarise: () => Promise.reject(new Error('nobody asked for one')),
        // biome-ignore lint/correctness/useYield: it fails before its first token
        async *answer() {
          throw new AppError('provider_unavailable', 'The model is away.');
        },
      },
    });
    const who = await rig.newTenant();
    const turn = await rig.as(who, () => rig.chat.send({ content: 'Anybody?' }));
    await rig.deliver(who, 'chat', turn.turn_id);
    await rig.relayWith().relay();
    expect(await rig.read(who)).toMatchObject([
      {
        type: 'turn.failed',
        data: {
          turn_id: turn.turn_id,
          conversation_id: turn.conversation_id,
          error: { code: 'provider_unavailable', message: 'The model is away.' },
        },
      },
    ]);
  });

  test('of a cancelled turn is told once, whether it ran or waited', async () => {
    const started = Promise.withResolvers<void>();
    const rig = await start({
      chat: {
        model: 'x',
        provider: 'x',
        contextTokens: 1_000,
        countTokens: (text) => text.length,
        summarise: () => Promise.reject(new Error('nobody asked for one')),
        async *answer(_request, signal) {
          yield { type: 'delta', text: 'Half' };
          started.resolve();
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        },
      },
    });
    const who = await rig.newTenant();
    rig.control.onCancel(({ tenantId, id }) => rig.tenants.cancel(tenantId, id));
    const running = await rig.as(who, () => rig.chat.send({ content: 'First?' }));
    const { conversation_id: conversationId } = running;
    const outcome = rig.deliver(who, 'chat', running.turn_id);
    await started.promise;
    const waiting = await rig.as(who, () => rig.chat.send({ content: 'Second?', conversationId }));
    const pushedOut = await rig.as(who, () => rig.chat.send({ content: 'Third?', conversationId }));
    await rig.as(who, () => rig.chat.cancel(waiting.turn_id));
    await rig.as(who, () => rig.chat.cancel(waiting.turn_id));
    await rig.as(who, () => rig.chat.send({ content: 'Fourth?', conversationId, ifBusy: 'interrupt' }));
    expect(await outcome).toEqual({ type: 'cancelled' });
    await rig.relayWith().relay();
    const events = await rig.read(who);
    expect(events.map(({ type }) => type)).toEqual(['turn.cancelled', 'turn.cancelled', 'turn.cancelled']);
    const told = events.map(({ data }) => data);
    for (const { turn_id } of [running, waiting, pushedOut]) {
      expect(told).toContainEqual({ turn_id, conversation_id: conversationId, user_id: who.userId });
    }
  });

  test('is not there without its change: a refused upload tells nothing', async () => {
    const rig = await start({ queueMaxDepth: 1 });
    const who = await rig.newTenant();
    await rig.upload(who, 'one');
    await expect(rig.upload(who, 'two')).rejects.toMatchObject({ kind: 'queue_full' });
    expect((await rig.upload(who, 'one')).receipt.duplicate).toBe(true);
    expect(await rig.waiting(who)).toEqual(['document.uploaded']);
  });

  test('whose change is rolled back was never there, and a change without its event neither', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, 'stays');
    const rolledBack = rig.as(who, () =>
      rig.database.tenant(async (sql) => {
        await appendOutbox(sql, 'document.deleted', { document_id: receipt.document_id, title: 'stays' });
        throw new Error('the change failed');
      }),
    );
    await expect(rolledBack).rejects.toThrow('the change failed');
    await rig.admin`alter table outbox add constraint broken check (type <> 'document.deleted')`;
    await expect(rig.as(who, () => rig.documents.remove(receipt.document_id))).rejects.toThrow('broken');
    await rig.admin`alter table outbox drop constraint broken`;
    expect(await rig.waiting(who)).toEqual(['document.uploaded']);
    expect((await rig.as(who, () => rig.documents.get(receipt.document_id))).id).toBe(receipt.document_id);
  });

  test('cannot be written for another tenant, nor read or taken back by a tenant', async () => {
    const rig = await start();
    const [who, other] = [await rig.newTenant(), await rig.newTenant()];
    await rig.happen(other, 1, 1);
    const attempt = (run: Parameters<typeof rig.database.tenant>[0]) => rig.as(who, () => rig.database.tenant(run));
    await expect(
      attempt((sql) => sql`insert into outbox (tenant_id, type, data) values (${other.tenantId}, 'x', '{}')`),
    ).rejects.toThrow('row-level security');
    await expect(attempt((sql) => sql`select 1 from outbox`)).rejects.toThrow('permission denied');
    await expect(attempt((sql) => sql`delete from outbox`)).rejects.toThrow('permission denied');
    await expect(attempt((sql) => sql`select 1 from outbox_leases`)).rejects.toThrow('permission denied');
  });
});

describe('the relay', () => {
  test('keeps the order of each tenant over many batches and many relays at once', async () => {
    const rig = await start();
    const tenants = await Promise.all(Array.from({ length: 4 }, () => rig.newTenant()));
    const relays = Array.from({ length: 3 }, () => rig.relayWith({ eventsAtOnce: 7, tenantsAtOnce: 2, everyMs: 5 }));
    await Promise.all(relays.map((relay) => relay.start()));
    await Promise.all(tenants.map((who) => rig.happen(who, 1, 60)));
    for (const who of tenants) {
      await eventually('everything is published', async () => (await rig.waiting(who)).length === 0);
    }
    await Promise.all(relays.map((relay) => relay.stop()));
    for (const who of tenants) expect(titles(await rig.read(who))).toEqual(upTo(60));
    expect(await rig.admin`select 1 from outbox_leases`).toHaveLength(0);
  }, 60_000);

  test('that dies after publishing leaves it to the next one, which publishes again and in order', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    await rig.happen(who, 1, 3);
    const dying = rig.relayWith({
      stream: {
        isReady: () => true,
        async append(tenantId, events) {
          await rig.stream.append(tenantId, events);
          // Its database is gone with it: nothing of the batch can be settled.
          await rig.admin`revoke delete on outbox from dreamhub_system`;
        },
      },
    });
    await expect(dying.relay()).rejects.toThrow('permission denied');
    await rig.admin`grant delete on outbox to dreamhub_system`;
    await rig.happen(who, 4, 5);
    // Its lease holds the others off, until it ends.
    expect(await rig.relayWith().relay()).toEqual({ published: 0, more: false });
    await rig.admin`update outbox_leases set leased_until = now() - interval '1 second'`;
    expect(await rig.relayWith().relay()).toMatchObject({ published: 5 });
    const events = await rig.read(who);
    expect(titles(events)).toEqual([1, 2, 3, 1, 2, 3, 4, 5]);
    expect(titles(firsts(events))).toEqual(upTo(5));
    expect(await rig.waiting(who)).toEqual([]);
  });

  test('that stood still for too long publishes nothing: somebody else may be ahead of it', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    await rig.happen(who, 1, 2);
    let now = 0;
    const clock = { ...systemClock, now: () => (now += 20_000) };
    expect(await rig.relayWith({ clock, leaseMs: 30_000 }).relay()).toMatchObject({ published: 0 });
    expect(await rig.read(who)).toEqual([]);
    expect(await rig.relayWith().relay()).toMatchObject({ published: 2 });
  });

  test('waits while Redis is down, loses nothing and keeps the order', async () => {
    const rig = await start();
    const proxy = await startTcpProxy({ path: rig.redis.socketPath });
    const clients = createRedisClients({ url: `redis://127.0.0.1:${proxy.port}`, logger: silentLogger });
    closers.push(
      () => proxy.stop(),
      () => clients.close(),
    );
    const stream = createDomainEventStream({ clients, keys: rig.keys });
    await eventually('Redis is connected', () => stream.isReady());
    const [who, other] = [await rig.newTenant(), await rig.newTenant()];
    const relay = rig.relayWith({ stream, everyMs: 10, retryMs: 20, eventsAtOnce: 5 });
    await relay.start();
    await rig.happen(who, 1, 12);
    await eventually('the first are published', async () => (await rig.waiting(who)).length === 0);
    await proxy.set({ type: 'refuse' });
    proxy.cut();
    await Promise.all([rig.happen(who, 13, 30), rig.happen(other, 1, 10)]);
    expect(await rig.waiting(who)).toHaveLength(18);
    await proxy.set({ type: 'pass' });
    for (const tenant of [who, other]) {
      await eventually('the rest is published', async () => (await rig.waiting(tenant)).length === 0, 40_000);
    }
    await relay.stop();
    expect(titles(firsts(await rig.read(who)))).toEqual(upTo(30));
    expect(titles(firsts(await rig.read(other)))).toEqual(upTo(10));
  }, 60_000);

  test('publishes again what it does not know to be published, and nothing before its turn', async () => {
    const rig = await start();
    const [who, other] = [await rig.newTenant(), await rig.newTenant()];
    await rig.happen(who, 1, 4);
    await rig.happen(other, 1, 4);
    let calls = 0;
    const moody: DomainEventStream = {
      isReady: () => true,
      async append(tenantId, events) {
        calls += 1;
        // Every other time it arrives and the reply is lost.
        if (tenantId === other.tenantId || calls % 2 === 0) return rig.stream.append(tenantId, events);
        await rig.stream.append(tenantId, events);
        throw new AppError('unavailable', 'The reply was lost.');
      },
    };
    const relay = rig.relayWith({ stream: moody, retryMs: 1, eventsAtOnce: 2 });
    // One tenant's trouble is not the other's.
    await eventually('everything is published', async () => {
      await relay.relay();
      return (await rig.waiting(who)).length + (await rig.waiting(other)).length === 0;
    });
    expect(titles(firsts(await rig.read(who)))).toEqual(upTo(4));
    expect(titles(await rig.read(other))).toEqual(upTo(4));
  });

  test('goes past tenants that somebody else is at', async () => {
    const rig = await start();
    const [busy, free] = [await rig.newTenant(), await rig.newTenant()].sort((a, b) =>
      a.tenantId < b.tenantId ? -1 : 1,
    );
    if (!busy || !free) throw new Error('two tenants');
    await rig.happen(busy, 1, 1);
    const claim = { holder: crypto.randomUUID(), leaseMs: 60_000, tenants: 1, events: 10 };
    expect(await rig.database.system((sql) => claimOutbox(sql, claim))).toHaveLength(1);
    await rig.happen(free, 1, 1);
    expect(await rig.relayWith({ tenantsAtOnce: 1 }).relay()).toMatchObject({ published: 1 });
    expect(await rig.waiting(free)).toEqual([]);
    expect(await rig.waiting(busy)).toHaveLength(1);
  });

  test('can be started and stopped in any state', async () => {
    const rig = await start();
    const relay = rig.relayWith({ everyMs: 1 });
    await relay.stop();
    await Promise.all([relay.start(), relay.start()]);
    await Promise.all([relay.stop(), relay.stop()]);
    await relay.start();
    await relay.stop();
  });
});

test('a stream keeps about its last thousand events', async () => {
  const rig = await start();
  const who = await rig.newTenant();
  const stream = createDomainEventStream({ clients: rig.clients, keys: rig.keys, maxLength: 100 });
  for (let i = 0; i < 10; i += 1) {
    await stream.append(
      who.tenantId,
      Array.from({ length: 100 }, (_, n) => JSON.stringify({ n })),
    );
  }
  expect(await rig.clients.ops.xlen(rig.keys.domainEvents(who.tenantId))).toBeLessThan(300);
});
