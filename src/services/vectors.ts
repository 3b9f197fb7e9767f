/** Vectors between the provider's form and the database's. */
import pgvector from 'pgvector';

/** The text form of a `halfvec`: `[0.1,-0.2,…]`. */
export function toHalfvec(vector: Float32Array): string {
  return pgvector.toSql(Array.from(vector)) as string;
}
