/** The checker's ears: what a process must never have to say is heard, however its log arrives. */
import { expect, test } from 'bun:test';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { createLogger } from '../../src/kernel/logger.ts';
import { createMetrics } from '../../src/kernel/metrics.ts';
import { createCounterCheck } from '../../src/services/counter-check.ts';
import { createAlarmReader } from '../support/chaos-alarms.ts';
import { createTestDatabase } from '../support/services.ts';

test('a counter that had to be repaired fails a run', async () => {
  const db = await createTestDatabase();
  const admin = postgres(db.adminUrl, { max: 1, onnotice: () => {} });
  const database = createDatabase({ url: db.url, max: 2, embedded: false });
  try {
    const tenant = crypto.randomUUID();
    await admin`insert into tenants (id, name) values (${tenant}, 'one')`;
    await admin`insert into tenant_load (tenant_id, outstanding) values (${tenant}, 3)`;
    const reader = createAlarmReader();
    // In pieces that end anywhere, as a pipe brings them.
    const write = (line: string) => {
      for (let at = 0; at < line.length; at += 7) reader.read(line.slice(at, at + 7));
    };
    const logger = createLogger({ level: 'info', destination: { write } });
    const metrics = createMetrics();
    const { check } = createCounterCheck({ database, metrics, clock: systemClock, logger });
    expect(await check()).toHaveLength(1);
    expect(reader.alarms).toHaveLength(1);
    expect(reader.alarms[0]).toContain(tenant);
    expect(await check()).toHaveLength(0);
    expect(reader.alarms).toHaveLength(1);
  } finally {
    await database.close();
    await admin.end();
    await db.drop();
  }
});

test('everything else may be said', () => {
  const reader = createAlarmReader();
  reader.read('{"level":50,"msg":"Redis does not answer"}\n{"level":40,"msg":"a counter"}\n');
  expect(reader.alarms).toEqual([]);
});
