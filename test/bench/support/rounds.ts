/**
 * Sides are measured in turns, so that whatever else the machine does falls on all of them: a figure of one side is only
 * worth something beside the other's of the same round.
 */

export type Sides = Readonly<Record<string, () => Promise<unknown>>>;
export type Results<S extends Sides> = { [K in keyof S]: Awaited<ReturnType<S[K]>>[] };

/**
 * Runs every side once a round; each round begins with the next side, so that none always follows the same one. Warming
 * up is the caller's.
 */
export async function interleave<S extends Sides>(rounds: number, sides: S): Promise<Results<S>> {
  const names = Object.keys(sides) as (keyof S)[];
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Results<S>;
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round) % names.length];
      const side = name === undefined ? undefined : sides[name];
      if (name === undefined || side === undefined) continue;
      results[name].push((await side()) as Results<S>[keyof S][number]);
    }
  }
  return results;
}

/** Round by round: what both sides met in one round cancels out. */
export function ratios(numerators: readonly number[], denominators: readonly number[]): number[] {
  return numerators.map((numerator, round) => numerator / (denominators[round] ?? Number.NaN));
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle - 1)] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}
