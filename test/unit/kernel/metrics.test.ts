import { expect, test } from 'bun:test';
import { createMetrics } from '../../../src/kernel/metrics.ts';

test('tells of the process without counting the objects of its heap at each reading', async () => {
  const told = await createMetrics().registry.metrics();
  expect(told).toContain('process_resident_memory_bytes');
  expect(told).toContain('nodejs_heap_size_used_bytes');
  expect(told).not.toContain('nodejs_heap_space_size');
});
