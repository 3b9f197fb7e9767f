/** What looking after the queue costs with ten thousand tenants that all have work out: each loop's whole walk. */
import Redis from 'ioredis';
import postgres from 'postgres';
import { type Job, PAYLOAD_VERSION } from '../../src/contracts/index.ts';
import { createDatabase, type Database } from '../../src/db/database.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createConsumerGroup } from '../../src/queue/consumer-group.ts';
import { createProducer } from '../../src/queue/producer.ts';
import { createReconciler } from '../../src/queue/reconciler.ts';
import { loadScripts } from '../../src/queue/scripts.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';
import { visitBacklogs } from '../../src/repositories/backlog.ts';
import { createTestDatabase, startRedis } from '../support/services.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { interleave } from './support/rounds.ts';

const TENANTS = 10_000;
const PARTITIONS = 4;
const WINDOW = 32;
const PUSHES_AT_ONCE = 100;
const NOBODY = '00000000-0000-0000-0000-000000000000';
const CAPS = { own: 4, total: 0 };
const LONG_MS = 3_600_000;

/** A tenant each: one task that was handed out an hour ago, one that waits. */
async function fill(adminUrl: string): Promise<{ tenantId: string; id: string }[]> {
  const sql = postgres(adminUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql`insert into tenants (id, name) select id, id::text from (select gen_random_uuid() id from generate_series(1, ${TENANTS})) t`;
    await sql`insert into tenant_load (tenant_id, outstanding, outstanding_bytes) select id, 2, 2 from tenants`;
    await sql`insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type)
      select id, id, id, 'tenant', '', '', 'text/plain', 1, sha256(id::text::bytea), 'upload' from tenants`;
    await sql`insert into tasks (tenant_id, id, kind, document_id, user_id, document_version, size, handed_out_at)
      select id, gen_random_uuid(), 'ingest', id, id, 1, 1, case when out then now() - interval '1 hour' end
      from tenants, (values (true), (false)) outs (out)`;
    await sql`vacuum analyze tasks`;
    return await sql<{ tenantId: string; id: string }[]>`
      select tenant_id as "tenantId", id from tasks where handed_out_at is not null`;
  } finally {
    await sql.end();
  }
}

/** The feeder's look at every backlog, a page after the other. */
async function visitAll(database: Database): Promise<void> {
  for (let after = NOBODY; ; ) {
    const page = await database.system((sql) => visitBacklogs(sql, 'ingest', { after, limit: 1_000, window: WINDOW }));
    after = page.at(-1)?.tenantId ?? '';
    if (page.length < 1_000) return;
  }
}

async function sweeps(rounds: number): Promise<Row[]> {
  const [redisServer, testDatabase] = await Promise.all([startRedis({ persist: false }), createTestDatabase()]);
  const database = createDatabase({ url: testDatabase.url, max: 4, embedded: false });
  const clients = createRedisClients({ url: redisServer.url, logger: silentLogger });
  const redis = new Redis(redisServer.url.replace(/^unix:(\/\/)?/, ''));
  try {
    const keys = createKeys({ partitions: PARTITIONS });
    const producer = createProducer({ clients, keys });
    await clients.check(5_000);
    const out = await fill(testDatabase.adminUrl);
    const jobs = out.map(
      ({ tenantId, id }): Job => ({
        v: PAYLOAD_VERSION,
        lane: 'ingest',
        tenantId,
        userId: tenantId,
        id,
        traceparent: '',
      }),
    );
    for (let at = 0; at < jobs.length; at += PUSHES_AT_ONCE) {
      await producer.push('ingest', jobs.slice(at, at + PUSHES_AT_ONCE));
    }
    const base = { database, producer, clients, keys, clock: systemClock, logger: silentLogger };
    const reconciler = createReconciler(base);
    const group = createConsumerGroup({ run: loadScripts(clients.ops), keys, lane: 'ingest', consumer: 'bench' });

    const inRedis = async () => {
      const info = await redis.info('cpu');
      const seconds = (field: string) => Number(new RegExp(`${field}:([\\d.]+)`).exec(info)?.[1]);
      return (seconds('used_cpu_sys') + seconds('used_cpu_user')) * 1e3;
    };
    const timed = (walk: () => Promise<unknown>) => async () => {
      const [before, started] = [await inRedis(), performance.now()];
      await walk();
      return { ms: performance.now() - started, redis: (await inRedis()) - before };
    };
    const results = await interleave(rounds, {
      feeder: timed(() => visitAll(database)),
      reconciler: timed(async () => {
        while (!(await reconciler.reconcile('ingest')).finished);
      }),
      reclaim: timed(async () => {
        for (let partition = 0; partition < PARTITIONS; partition++) {
          let cursor: string | undefined;
          do {
            const step = await group.reclaim(partition, {
              idleMs: LONG_MS,
              slots: 16,
              caps: CAPS,
              consumerGoneMs: LONG_MS,
              held: new Map(),
              cursor,
            });
            cursor = step.cursor;
          } while (cursor !== undefined);
        }
      }),
    });
    const rows = (label: string, side: { ms: number; redis: number }[]): Row[] => [
      { label: `${TENANTS} tenants at work: ${label}`, unit: 'ms', values: side.map(({ ms }) => ms) },
      { label: '… processor time of Redis for it', unit: 'ms', values: side.map(({ redis }) => redis) },
    ];
    return [
      ...rows('the feeder’s sweep over all backlogs', results.feeder),
      ...rows('the reconciler’s walk over all that is handed out', results.reconciler),
      ...rows('a worker’s reclaiming walk over all streams', results.reclaim),
    ];
  } finally {
    redis.disconnect();
    await clients.close();
    await database.close();
    await redisServer.stop();
    await testDatabase.drop();
  }
}

export const benchmark: Benchmark = {
  name: 'queue-sweeps',
  about: 'what looking after the queue costs with ten thousand tenants at work',
  run: ({ rounds }) => sweeps(rounds),
};
