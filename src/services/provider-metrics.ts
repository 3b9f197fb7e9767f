/** What model providers cost and how often they fail, as the metrics tell it. */
import type { Clock } from '../kernel/clock.ts';
import type { Metrics } from '../kernel/metrics.ts';

export interface ProviderMetricsOptions {
  metrics: Pick<
    Metrics,
    'providerRequests' | 'providerTokens' | 'providerErrorRate' | 'quotaUsedPct' | 'providerWaitSeconds'
  >;
  clock: Clock;
}

const WINDOW_MS = 60_000;

/** Hooks for the drivers: `llm/observer.ts`. Keys are told by their number, never by their text. */
export function createProviderMetrics({ metrics, clock }: ProviderMetricsOptions) {
  /** Requests of the last minute, oldest first. */
  let recent: { at: number; failed: boolean }[] = [];

  function errorRate(): number {
    const since = clock.now() - WINDOW_MS;
    recent = recent.filter(({ at }) => at >= since);
    return recent.length === 0 ? 0 : recent.filter(({ failed }) => failed).length / recent.length;
  }

  return {
    request({ key, status }: { key: string; status: string }): void {
      metrics.providerRequests.inc({ key, status });
      // Somebody who presses Stop is no failure of the provider.
      if (status !== 'aborted') recent.push({ at: clock.now(), failed: !/^2\d\d$/.test(status) });
      metrics.providerErrorRate.set(errorRate());
    },
    limit({ operation, key, usedPct }: { operation: string; key: string; usedPct: number }): void {
      metrics.quotaUsedPct.set({ scope: 'key', name: `${operation}/${key}` }, usedPct);
    },
    waited({ key, kind, ms }: { key: string; kind: string; ms: number }): void {
      metrics.providerWaitSeconds.observe({ key, kind }, ms / 1_000);
    },
    tokens({ kind, model, count }: { kind: string; model: string; count: number }): void {
      metrics.providerTokens.inc({ kind, model }, count);
    },
  };
}
