/** One side of the queue's benchmark in a process of its own. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openSide } from './queue-sides.ts';
import { obey } from './support/hub.ts';
import { batches, jobFor, type Kind, type QueueOrder } from './support/queue.ts';

const { REDIS_URL = '', KIND = '' } = process.env;
/** Calls to enqueue that are under way at once. */
const PRODUCERS = 8;
/** Long enough for a worker to have gone to sleep. */
const PAUSE_MS = 3;

let begun: (id: string) => void = () => undefined;
const side = await openSide(KIND as Kind, REDIS_URL, (id) => begun(id));

async function enqueue(jobs: number, tenants: readonly string[], batch?: number): Promise<void> {
  const next = batches(jobs, tenants, batch);
  const produce = async () => {
    for (const batch of next) await side.enqueue(batch);
  };
  await Promise.all(Array.from({ length: PRODUCERS }, produce));
}

async function flood(jobs: number, tenants: readonly string[], batch: number): Promise<number> {
  const started = performance.now();
  await enqueue(jobs, tenants, batch);
  await side.idle();
  return performance.now() - started;
}

async function pickup(count: number, tenants: readonly string[]): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const job = jobFor(tenants[i % tenants.length] ?? '');
    const { promise, resolve } = Promise.withResolvers<void>();
    let started = 0;
    begun = () => {
      times.push(performance.now() - started);
      resolve();
    };
    started = performance.now();
    await side.enqueue([job]);
    await promise;
    await side.idle();
    await sleep(PAUSE_MS);
  }
  begun = () => undefined;
  return times;
}

obey<QueueOrder>(async (order) => {
  if (order.do === 'flood') return flood(order.jobs, order.tenants, order.batch);
  if (order.do === 'pickup') return pickup(order.jobs, order.tenants);
  if (order.do === 'close') return side.close();
  await side.stopWorking();
  return enqueue(order.jobs, order.tenants);
});
