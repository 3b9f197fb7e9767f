/**
 * The queue's transport, Redis alone, beside BullMQ and beside bare Redis Streams: many jobs at once, one at a time, and what
 * those that wait take of Redis' memory. What each side does and leaves out stands at the head of `queue-sides.ts`.
 *
 * The sides are processes of their own on the same Redis, and are measured in turns. Where others work on the machine,
 * processor time a job says more than a rate; both are printed.
 */
import type { Benchmark } from './support/benchmark.ts';
import { memory, transport } from './support/queue-transport.ts';

export const benchmark: Benchmark = {
  name: 'queue-transport',
  about: 'from enqueued to acknowledged, idle pickup and memory, beside BullMQ and bare Streams on the same Redis',
  run: async ({ rounds }) => [...(await transport(rounds)), ...(await memory())],
};
