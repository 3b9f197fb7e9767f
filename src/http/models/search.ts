import { Kind, Type } from '@sinclair/typebox';
import {
  DEGRADATIONS,
  FUSION_METHODS,
  Id,
  type MetadataFilter,
  SEARCH_MODES,
  SearchResult,
} from '../../contracts/index.ts';
import { documentId, result } from '../examples.ts';
import { METADATA_FILTER } from '../kinds.ts';
import { oneOf } from './one-of.ts';

/** Without a `type`: Elysia would strip an object of every property that its schema does not name. */
const Metadata = Type.Unsafe<MetadataFilter>({
  [Kind]: METADATA_FILTER,
  description: '{field: value} or {field: {eq|ne|gt|gte|lt|lte|in|nin: …}}, joined by `and` and `or`',
  example: { and: [{ department: 'people' }, { year: { gte: 2025 } }] },
});

export const Filter = Type.Object(
  {
    document_ids: Type.Optional(Type.Array(Id, { minItems: 1, maxItems: 200 })),
    source_type: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
    metadata: Type.Optional(Metadata),
  },
  // A misspelt condition that is left out would find everything.
  { additionalProperties: Type.Never() },
);

export const SearchBody = Type.Object(
  {
    query: Type.String({ minLength: 1, maxLength: 8_000 }),
    top_k: Type.Integer({ minimum: 1, maximum: 100, default: 10 }),
    mode: oneOf(SEARCH_MODES, { default: 'hybrid' }),
    filter: Type.Optional(Filter),
    fusion: Type.Optional(
      oneOf(FUSION_METHODS, { description: 'Words and vectors joined by normalised scores, or by reciprocal ranks' }),
    ),
    vector_weight: Type.Optional(
      Type.Number({
        minimum: 0,
        maximum: 1,
        description: 'Share of the vector score; by default what fits model and question',
      }),
    ),
    rerank: Type.Optional(
      Type.Boolean({
        description: 'A reranker looks at the best hits; by default where a server for it is configured',
      }),
    ),
    diversity: Type.Optional(
      Type.Number({ minimum: 0, maximum: 1, description: '0: the best, however alike; 1: as different as can be' }),
    ),
    max_per_document: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    min_score: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'What scores less is left out' })),
  },
  {
    example: {
      query: 'How many days of leave do I have?',
      top_k: 10,
      mode: 'hybrid',
      filter: { document_ids: [documentId] },
      max_per_document: 3,
    },
  },
);

export const SearchAnswer = Type.Object(
  {
    results: Type.Array(SearchResult),
    took_ms: Type.Number({ description: 'Milliseconds' }),
    degraded: Type.Optional(
      Type.Array(oneOf(DEGRADATIONS), { description: 'What could not be had; absent where nothing is missing' }),
    ),
  },
  { example: { results: [result], took_ms: 12.4 } },
);
