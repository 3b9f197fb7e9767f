import { Kind, Type } from '@sinclair/typebox';
import { Id, type MetadataFilter, SEARCH_MODES, SearchResult } from '../../contracts/index.ts';
import { documentId, result } from '../examples.ts';
import { METADATA_FILTER } from '../kinds.ts';
import { oneOf } from './one-of.ts';

/** Without a `type`: Elysia would strip an object of every property that its schema does not name. */
const Metadata = Type.Unsafe<MetadataFilter>({
  [Kind]: METADATA_FILTER,
  description: '{field: value} or {field: {eq|ne|gt|gte|lt|lte|in|nin: …}}, joined by `and` and `or`',
  example: { and: [{ department: 'people' }, { year: { gte: 2025 } }] },
});

export const Filter = Type.Object({
  document_ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: 200 })),
  source_type: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
  metadata: Type.Optional(Metadata),
});

export const SearchBody = Type.Object(
  {
    query: Type.String({ minLength: 1, maxLength: 8_000 }),
    top_k: Type.Integer({ minimum: 1, maximum: 100, default: 10 }),
    mode: oneOf(SEARCH_MODES, { default: 'hybrid' }),
    filter: Type.Optional(Filter),
  },
  {
    example: {
      query: 'How many days of leave do I have?',
      top_k: 10,
      mode: 'hybrid',
      filter: { document_ids: [documentId] },
    },
  },
);

export const SearchAnswer = Type.Object(
  { results: Type.Array(SearchResult), took_ms: Type.Number({ description: 'Milliseconds' }) },
  { example: { results: [result], took_ms: 12.4 } },
);
