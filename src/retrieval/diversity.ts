/** Choosing among hits that are good: not the same thing twice, not all of one document. */
import { lexemes } from '../kernel/text/lexemes.ts';

export interface Diverse {
  readonly text: string;
  /** In [0, 1]. */
  readonly score: number;
}

/**
 * Maximal marginal relevance (Carbonell and Goldstein 1998): each next hit is the best by
 * `(1 - diversity) × score - diversity × likeness to the nearest one chosen`. Scores stay as they are; at diversity 0 the
 * order does too. Likeness is the share of common terms (Jaccard).
 */
export function diversify<T extends Diverse>(hits: readonly T[], diversity: number, limit: number): T[] {
  if (diversity <= 0 || hits.length < 2) return hits.slice(0, limit);
  const left = hits.map((hit) => ({ hit, terms: new Set(lexemes(hit.text)), likeness: 0 }));
  const chosen: T[] = [];
  while (left.length > 0 && chosen.length < limit) {
    let best = 0;
    const worth = (at: number) => {
      const one = left[at];
      return one ? (1 - diversity) * one.hit.score - diversity * one.likeness : Number.NEGATIVE_INFINITY;
    };
    for (let at = 1; at < left.length; at += 1) if (worth(at) > worth(best)) best = at;
    const [next] = left.splice(best, 1);
    if (!next) break;
    chosen.push(next.hit);
    for (const one of left) one.likeness = Math.max(one.likeness, jaccard(one.terms, next.terms));
  }
  return chosen;
}

function jaccard(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const [small, large] = a.size < b.size ? [a, b] : [b, a];
  let shared = 0;
  for (const term of small) if (large.has(term)) shared += 1;
  const all = a.size + b.size - shared;
  return all === 0 ? 0 : shared / all;
}

/** At most so many of each document, in the order given. */
export function capPerDocument<T extends { readonly document_id: string }>(hits: readonly T[], most: number): T[] {
  const uses = new Map<string, number>();
  return hits.filter(({ document_id: id }) => {
    const use = (uses.get(id) ?? 0) + 1;
    uses.set(id, use);
    return use <= most;
  });
}
