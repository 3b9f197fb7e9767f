import { afterAll, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createQuotaStats } from '../../src/services/quota-stats.ts';
import { eventually } from '../support/eventually.ts';
import { createRig } from '../support/rig.ts';

const rig = await createRig({ queueMaxDepth: 10 });
afterAll(async () => {
  await rig.close();
});

test('of many tenants those nearest to their ends are told, and of all others the nearest', async () => {
  const tenants = await Promise.all(Array.from({ length: 4 }, () => rig.newTenant()));
  for (const [place, who] of tenants.entries()) {
    for (let i = 0; i < place; i++) await rig.upload(who, `document ${i}`);
  }
  const [, one = '', two = '', three = ''] = tenants.map(({ tenantId }) => tenantId);
  const { database, limits, metrics } = rig;
  const service = createQuotaStats({
    database,
    limits,
    metrics,
    clock: systemClock,
    logger: silentLogger,
    everyMs: 5,
    most: 2,
  });
  const told = async () => {
    const values = (await metrics.quotaUsedPct.get()).values.filter(({ labels }) => labels.scope === 'tenant');
    return Object.fromEntries(values.map(({ labels, value }) => [String(labels.name), Math.round(value)]));
  };
  const equals = (expected: Record<string, number>) =>
    eventually(JSON.stringify(expected), async () => Bun.deepEquals(await told(), expected));
  await service.start();
  try {
    await equals({ [three]: 30, [two]: 20, other: 10 });
    // Who has used nothing any more is not told of.
    const owner = tenants[3] ?? (await rig.newTenant());
    const tasks = await rig.as(owner, () => rig.tasks.list({ limit: 10 }));
    for (const { id } of tasks.items) await rig.deliver(owner, 'ingest', id);
    await equals({ [two]: 20, [one]: 10, other: 0 });
  } finally {
    await service.stop();
  }
}, 60_000);
