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

test("the used share of each key's allowance, and the time that requests were kept back for it, are told", async () => {
  const metrics = createMetrics();
  const clock = { now: () => 0, sleep: async () => {}, after: () => () => {} };
  const observer = createProviderMetrics({ metrics, clock });
  observer.limit({ operation: 'chat', key: '2', usedPct: 12.5 });
  observer.limit({ operation: 'embeddings', key: '2', usedPct: 80 });
  observer.waited({ key: '2', kind: 'tokens', ms: 1_500 });
  const text = await metrics.registry.metrics();
  expect(text).toContain('dreamhub_quota_used_pct{scope="key",name="chat/2",service="dreamhub"} 12.5');
  expect(text).toContain('dreamhub_quota_used_pct{scope="key",name="embeddings/2",service="dreamhub"} 80');
  expect(text).toMatch(/dreamhub_openai_limit_wait_seconds_sum\{[^}]*kind="tokens"[^}]*\} 1\.5/);
});
