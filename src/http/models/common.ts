/** What several resources ask for alike. */
import { type NumberOptions, type Static, Type } from '@sinclair/typebox';
import { Id } from '../../contracts/index.ts';

/** An id that is no UUID is answered as one that names nothing. */
export const IdParams = Type.Object({ id: Id });

/**
 * A whole number in a query. Elysia makes numbers of the text there and reports one out of bounds without saying where it
 * stood, so the title does (`field-errors.ts`).
 */
export const queryInteger = (name: string, options: NumberOptions) =>
  Type.Number({ multipleOf: 1, title: name, ...options });

export const PageQuery = Type.Object({
  limit: queryInteger('limit', {
    minimum: 1,
    maximum: 200,
    default: 50,
    description: 'At most so many items, 1 to 200',
  }),
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 512, description: '`next_cursor` of the page before' })),
});
export type PageQuery = Static<typeof PageQuery>;
