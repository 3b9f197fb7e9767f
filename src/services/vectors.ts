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
