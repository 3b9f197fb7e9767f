import { type Static, Type } from '@sinclair/typebox';
import { DOCUMENT_STATUSES } from '../../contracts/index.ts';
import { PageQuery, queryInteger } from './common.ts';
import { oneOf } from './one-of.ts';

export const DocumentListQuery = Type.Composite([
  PageQuery,
  Type.Object({
    status: Type.Optional(oneOf(DOCUMENT_STATUSES)),
    source_type: Type.Optional(Type.String({ minLength: 1, maxLength: 100, description: 'As given at the upload' })),
    q: Type.Optional(Type.String({ minLength: 1, maxLength: 200, description: 'Part of a title or filename' })),
  }),
]);
export type DocumentListQuery = Static<typeof DocumentListQuery>;

export const DocumentTextQuery = Type.Object({
  version: Type.Optional(
    queryInteger('version', {
      minimum: 1,
      maximum: 2_147_483_647,
      description: 'Of a source or a search result; by default the version that searches see',
    }),
  ),
});
