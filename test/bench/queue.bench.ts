/**
 * The queue beside BullMQ, beside bare Redis Streams, and on its durable way beside graphile-worker and bare batches of
 * `FOR UPDATE SKIP LOCKED`. What each side does and leaves out stands at the heads of `queue-sides.ts` and `queue-durable.ts`.
 *
 * The sides of a comparison are processes of their own on the same servers, and are measured in turns. Where others work on
 * the machine, processor time a job says more than a rate; both are printed.
 */
import type { Benchmark } from './support/benchmark.ts';
import { crowd } from './support/queue-crowd.ts';
import { durable } from './support/queue-durable-rows.ts';
import { sweeps } from './support/queue-sweeps.ts';
import { manyTenants, memory, transport } from './support/queue-transport.ts';

export const benchmark: Benchmark = {
  name: 'queue',
  about: 'the queue beside BullMQ, bare Streams, graphile-worker and bare SKIP LOCKED; fairness, memory, sweeps',

  async run({ rounds, progress }) {
    progress('transports');
    const rows = await transport(rounds);
    progress('memory');
    rows.push(...(await memory()));
    progress('many tenants');
    rows.push(...(await manyTenants(rounds)));
    progress('the durable way');
    rows.push(...(await durable(rounds)));
    progress('ten thousand tenants at work');
    rows.push(...(await sweeps(rounds)));
    progress('one document beside ten thousand');
    rows.push(...(await crowd()));
    return rows;
  },
};
