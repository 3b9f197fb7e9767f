/** A worker whose slots are never all free: what a dead one left has its turn all the same. */
import { afterEach, beforeEach, expect, test } from 'bun:test';
import { eventually } from '../support/eventually.ts';
import { jobFor, jobsFor, startQueue, type TestQueue, uuid } from '../support/queue.ts';

const PARTITIONS = 8;
let queue: TestQueue;
beforeEach(async () => {
  queue = await startQueue({ partitions: PARTITIONS });
});
afterEach(() => queue.stop());

/** A tenant of the last partition that a walk comes to. */
function tenantOfTheLast(): string {
  for (;;) {
    const tenant = uuid();
    if (queue.keys.partitionOf(tenant) === PARTITIONS - 1) return tenant;
  }
}

/** So far, by everybody. */
async function scriptsRun(): Promise<number> {
  const stats = String(await queue.admin.info('commandstats'));
  return Number(/^cmdstat_evalsha:calls=(\d+)/m.exec(stats)?.[1] ?? 0);
}

test('an entry that a dead worker held is claimed while another tenant’s backlog keeps every slot busy', async () => {
  const tenant = tenantOfTheLast();
  const left = jobFor(tenant);
  await queue.producer.push('ingest', [left]);
  const { entries } = await queue.consumer('dead').take(PARTITIONS - 1, 1, { own: 1, total: 0 }, new Map());
  await queue.age(tenant, entries[0]?.id ?? '', 60_000);
  const busy = uuid();
  const jobs = jobsFor(busy, 40);
  await queue.producer.push('ingest', jobs);
  const worker = await queue.worker('a', { concurrency: 2, tenantConcurrency: 2, visibilityMs: 400 });
  for (let ended = 0; ended < jobs.length - 2 && !worker.jobIds().includes(left.id); ended++) {
    await worker.delivered(ended + 2);
    const before = await scriptsRun();
    await eventually('the walk has been everywhere', async () => (await scriptsRun()) - before >= PARTITIONS);
    worker.finish(worker.openIds()[0] ?? '');
  }
  expect(worker.jobIds()).toContain(left.id);
  worker.finishAll();
}, 60_000);
