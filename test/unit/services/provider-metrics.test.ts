import { expect, test } from 'bun:test';
import { createMetrics } from '../../../src/kernel/metrics.ts';
import { createProviderMetrics } from '../../../src/services/provider-metrics.ts';

test('the error rate is that of the last minute, without what was stopped on purpose', async () => {
  const metrics = createMetrics();
  let now = 0;
  const clock = { now: () => now, sleep: async () => {}, after: () => () => {} };
  const observer = createProviderMetrics({ metrics, clock });
  const rate = async () => (await metrics.providerErrorRate.get()).values[0]?.value;
  for (const status of ['200', '500', 'timeout', '200', 'aborted']) observer.request({ key: '1', status });
  expect(await rate()).toBe(0.5);
  now = 61_000;
  observer.request({ key: '1', status: '200' });
  expect(await rate()).toBe(0);
  expect(await metrics.registry.metrics()).toContain(
    'dreamhub_openai_req_total{key="1",status="500",service="dreamhub"} 1',
  );
});
