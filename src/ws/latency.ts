import type { HubEvent } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Metrics } from '../kernel/metrics.ts';

/** One delta in so many is timed, the first one too. */
const SAMPLE = 32;

/** Observes how long after it was written a delta is sent. */
export function createLatencySampler({
  clock,
  metrics,
}: {
  clock: Clock;
  metrics: Pick<Metrics, 'tokenLatencyMs'>;
}): (event: HubEvent) => void {
  let deltas = 0;
  return ({ type, json }) => {
    if (type !== 'turn.delta') return;
    deltas += 1;
    if (deltas % SAMPLE !== 1) return;
    const at = json.indexOf('"ts":"') + '"ts":"'.length;
    const written = Date.parse(json.slice(at, json.indexOf('"', at)));
    if (!Number.isNaN(written)) metrics.tokenLatencyMs.observe(Math.max(0, clock.now() - written));
  };
}
