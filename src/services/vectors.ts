/** Vectors between the provider's form and the database's. */

/** A `halfvec` of unit length keeps steps of 5e-7 at best near a millionth part: more digits would only be sent and parsed. */
const STEPS = 1e6;

/** The text form of a `halfvec`: `[0.1,-0.2,…]`. For vectors of unit length. */
export function toHalfvec(vector: Float32Array): string {
  let text = '[';
  for (let i = 0; i < vector.length; i++) {
    if (i > 0) text += ',';
    text += Math.round((vector[i] ?? 0) * STEPS) / STEPS;
  }
  return `${text}]`;
}
