/** What several resources ask for alike. */
import { type NumberOptions, type Static, Type } from '@sinclair/typebox';
import { Id } from '../../contracts/index.ts';

/** An id that is no UUID is answered as one that names nothing. */
export const IdParams = Type.Object({ id: Id });

/** A whole number in a query. Elysia makes numbers of the text there for `Number` alone, never for `Integer`. */
export const queryInteger = (options: NumberOptions) => Type.Number({ multipleOf: 1, ...options });

export const PageQuery = Type.Object({
  limit: queryInteger({ minimum: 1, maximum: 200, default: 50, description: 'At most so many items, 1 to 200' }),
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: '`next_cursor` of the page before' })),
});
export type PageQuery = Static<typeof PageQuery>;
