/** The best of many rows by their distances or scores. Pure; rows are told by their numbers. */

/** Which rows may be chosen; absent: all. */
export type Allowed = (row: number) => boolean;

/**
 * The `count` rows of least distance, in no order, the first ones where distances are equal; all where there are no more.
 * Distances are whole numbers up to `most`: they are counted, not sorted.
 */
export function leastDistant(distances: Uint16Array, count: number, most: number, allowed?: Allowed): number[] {
  const rowsAt = new Uint32Array(most + 1);
  let possible = 0;
  for (let row = 0; row < distances.length; row++) {
    if (allowed && !allowed(row)) continue;
    const distance = distances[row] ?? 0;
    rowsAt[distance] = (rowsAt[distance] ?? 0) + 1;
    possible += 1;
  }
  const wanted = Math.min(count, possible);
  let [bound, below] = [0, 0];
  while (below + (rowsAt[bound] ?? 0) < wanted) {
    below += rowsAt[bound] ?? 0;
    bound += 1;
  }
  const rows: number[] = [];
  let atBound = wanted - below;
  for (let row = 0; row < distances.length && rows.length < wanted; row++) {
    const distance = distances[row] ?? 0;
    if (distance > bound || (allowed && !allowed(row))) continue;
    if (distance === bound) {
      if (atBound === 0) continue;
      atBound -= 1;
    }
    rows.push(row);
  }
  return rows;
}

/**
 * The `count` rows of highest score, best first; `before` orders rows of equal scores. A heap of the best so far, worst on
 * top, so that nearly every row is looked at once.
 */
export function highestScored(
  scores: Float32Array,
  count: number,
  before: (a: number, b: number) => number,
  allowed?: Allowed,
): number[] {
  const heap: number[] = [];
  /** Negative where `a` is the better. */
  const order = (a: number, b: number) => (scores[b] ?? 0) - (scores[a] ?? 0) || before(a, b);
  const at = (place: number) => heap[place] as number;

  function sink(): void {
    let place = 0;
    for (;;) {
      let worst = place;
      for (const child of [2 * place + 1, 2 * place + 2]) {
        if (child < heap.length && order(at(child), at(worst)) > 0) worst = child;
      }
      if (worst === place) return;
      [heap[place], heap[worst]] = [at(worst), at(place)];
      place = worst;
    }
  }

  function rise(): void {
    let place = heap.length - 1;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (order(at(place), at(parent)) <= 0) return;
      [heap[place], heap[parent]] = [at(parent), at(place)];
      place = parent;
    }
  }

  for (let row = 0; row < scores.length && count > 0; row++) {
    // Most rows end here.
    if (heap.length === count && (scores[row] ?? 0) < (scores[at(0)] ?? 0)) continue;
    if (allowed && !allowed(row)) continue;
    if (heap.length < count) {
      heap.push(row);
      rise();
    } else if (order(row, at(0)) < 0) {
      heap[0] = row;
      sink();
    }
  }
  return heap.sort(order);
}
