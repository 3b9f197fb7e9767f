/** Which way of searching fits a tenant of a size. A pure decision, so that its bounds can be read and tested in one place. */
import type { Tier } from '../repositories/vectors.ts';

export interface TierBounds {
  /** Chunks from which codes are scanned rather than vectors. */
  bits: number;
  /** Chunks from which a graph is walked rather than codes scanned. */
  indexed: number;
}

/** Found by the benchmark `retrieve`; see `src/README.md`. */
export const TIER_BOUNDS: TierBounds = { bits: 1_500, indexed: 50_000 };

/** A tenant that shrinks keeps its tier down to this share of the bound, so that nobody moves to and fro at it. */
const HYSTERESIS = 0.7;
/** What was measured is measured again when the tenant has grown by so much. */
const GROWN = 2;
const GROWN_AFTER_REFUSAL = 1.5;

export interface Sized {
  tier: Tier['tier'];
  chunks: number;
  uncoded: number;
  measuredAt: number;
  refusedAt: number | null;
}

const RANK = { exact: 0, bits: 1, indexed: 2 } as const;

/** The tier that a tenant should be in. `canIndex`: false where no index can be built beside writers. */
export function tierFor({ tier, chunks, refusedAt }: Sized, bounds: TierBounds, canIndex: boolean): Tier['tier'] {
  const fits = (wanted: 'bits' | 'indexed') => chunks >= bounds[wanted] * (RANK[tier] >= RANK[wanted] ? HYSTERESIS : 1);
  const isRefused = refusedAt !== null && chunks < refusedAt * GROWN_AFTER_REFUSAL;
  if (isRefused && tier === 'exact') return 'exact';
  if (canIndex && !(isRefused && tier === 'bits') && fits('indexed')) return 'indexed';
  return fits('bits') ? 'bits' : 'exact';
}

/** Recall was measured on a tenant that was half this size, or never. */
export const isOutgrown = ({ chunks, measuredAt }: Sized) => chunks >= measuredAt * GROWN;
