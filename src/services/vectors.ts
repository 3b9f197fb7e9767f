/** Vectors between the provider's form and the database's. */

/** Finer than a half where it matters: of the values of a unit vector those above 0.01 carry the product. */
const STEPS = 1e5;

/**
 * The text form of a question's `halfvec`, `[0.1,-0.2,…]`: unit length, and no more digits than change an order. Half as
 * long to send and to parse as all that a float has.
 */
export function toHalfvec(vector: Float32Array): string {
  let text = '[';
  for (let i = 0; i < vector.length; i++) {
    if (i > 0) text += ',';
    text += Math.round((vector[i] ?? 0) * STEPS) / STEPS;
  }
  return `${text}]`;
}

/** Of a half: the smallest that is normal, and what rounds a float to 11 bits, or to a half's last place below that. */
const LEAST_NORMAL = 2 ** -14;
const SPLIT = 2 ** 13 + 1;
const MAGIC = 0.75;

/**
 * The numbers that the text form comes to as halves: what the database multiplies by. Rounded by arithmetic (Veltkamp's
 * splitting), since this runtime takes forty times as long to read a `Float16Array`.
 */
export function toHalves(vector: Float32Array): Float32Array {
  const { fround, round, abs } = Math;
  const halves = new Float32Array(vector.length);
  for (let i = 0; i < vector.length; i++) {
    const value = fround(round((vector[i] ?? 0) * STEPS) / STEPS);
    if (abs(value) < LEAST_NORMAL) {
      halves[i] = fround(value + MAGIC) - MAGIC;
    } else {
      const split = fround(value * SPLIT);
      halves[i] = split - fround(split - value);
    }
  }
  return halves;
}
