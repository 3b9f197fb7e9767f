/** Whether the tenants that have nothing to do cost those that have. */
import type { Benchmark } from './support/benchmark.ts';
import { manyTenants } from './support/queue-transport.ts';

export const benchmark: Benchmark = {
  name: 'queue-tenants',
  about: 'ten busy tenants of ten thousand beside ten of ten',
  run: ({ rounds }) => manyTenants(rounds),
};
