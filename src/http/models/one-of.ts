import { Type } from '@sinclair/typebox';

/** One of some words, as a plain `enum` in the documentation. Checked by `kinds.ts`. */
export const oneOf = <const T extends readonly string[]>(
  values: T,
  options: { description?: string; default?: T[number] } = {},
) => Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options });
