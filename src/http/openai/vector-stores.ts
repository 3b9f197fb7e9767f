/** `/v1/vector_stores`: named sets of documents, and searching in one. */
import { type Static, Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import type { VectorStores } from '../../services/vector-stores.ts';
import { jsonBody } from '../json-body.ts';
import { authenticated } from '../plugins/auth.ts';
import { describeOpenAi } from './documentation.ts';
import { FileId, params, rowOf, StoreId, toStoreId } from './ids.ts';
import { ListQuery, toIdPage, toList } from './lists.ts';
import { unsupported } from './messages.ts';
import { optional, Parameters } from './parameters.ts';
import { StoreFilter, toMetadataFilter } from './store-filter.ts';
import { hitExample, Metadata, Name, storeExample, toStore, toStoreHit } from './vector-store-forms.ts';

const MOST_FILES = 500;
const MOST_QUERIES = 5;
const Query = Type.String({ minLength: 1, maxLength: 8_000 });

const StoreParams = params({ id: StoreId });
const NewStore = Parameters(
  {
    name: optional(Name),
    description: optional(Type.String()),
    file_ids: optional(Type.Array(FileId, { maxItems: MOST_FILES })),
    metadata: optional(Metadata),
    chunking_strategy: optional(Type.Unknown()),
    expires_after: optional(Type.Unknown()),
  },
  { example: { name: 'Handbooks', file_ids: ['file-01985f2c-40aa-7be5-93d0-a1b2c3d4e001'] } },
);
const StoreChange = Parameters(
  { name: optional(Name), metadata: optional(Metadata), expires_after: optional(Type.Unknown()) },
  { example: { name: 'All handbooks' } },
);
const SearchBody = Parameters(
  {
    query: Type.Union([Query, Type.Array(Query, { minItems: 1, maxItems: MOST_QUERIES })]),
    max_num_results: optional(Type.Integer({ minimum: 1, maximum: 50 })),
    filters: Type.Optional(StoreFilter),
    ranking_options: optional(
      Type.Object({
        ranker: optional(Type.String()),
        score_threshold: optional(Type.Number({ minimum: 0, maximum: 1 })),
      }),
    ),
    rewrite_query: optional(Type.Boolean()),
  },
  {
    example: {
      query: 'How many days of leave do I have?',
      filters: { type: 'eq', key: 'department', value: 'people' },
    },
  },
);

/** A document is cut as it was uploaded, once for all stores, and none of them ends by itself. */
function assertSupported({ expires_after: expires }: Pick<Static<typeof NewStore>, 'expires_after'>): void {
  if (expires !== undefined && expires !== null) throw unsupported('expires_after', 'Vector stores do not expire here');
}

export function createOpenAiVectorStores({ vectorStores }: { vectorStores: VectorStores }) {
  return new Elysia({ name: 'openai.vector-stores' })
    .use(authenticated)
    .post(
      '/vector_stores',
      async ({ body }) => {
        assertSupported(body);
        const { name, metadata, file_ids: files } = body;
        return toStore(
          await vectorStores.create({ name: name ?? '', metadata: metadata ?? {}, files: (files ?? []).map(rowOf) }),
        );
      },
      {
        parse: jsonBody,
        body: NewStore,
        detail: describeOpenAi({
          summary: 'Make a vector store',
          description:
            'A named set of documents, which the whole tenant sees; of the documents in it everybody sees those that are theirs to see. `chunking_strategy` has no effect: a document is cut once, as it was uploaded.',
          example: storeExample,
        }),
      },
    )
    .get(
      '/vector_stores',
      async ({ query }) => toList((await vectorStores.list(toIdPage(query))).map(toStore), query.limit),
      {
        query: ListQuery,
        detail: describeOpenAi({
          summary: 'The vector stores',
          example: {
            object: 'list',
            data: [storeExample],
            first_id: storeExample.id,
            last_id: storeExample.id,
            has_more: false,
          },
        }),
      },
    )
    .get('/vector_stores/:id', async ({ params: { id } }) => toStore(await vectorStores.get(rowOf(id))), {
      params: StoreParams,
      detail: describeOpenAi({ summary: 'One vector store', example: storeExample }),
    })
    .post(
      '/vector_stores/:id',
      async ({ params: { id }, body, principal }) => {
        assertSupported(body);
        const { name, metadata } = body;
        const change = { name: name ?? undefined, metadata: metadata ?? undefined };
        return toStore(await vectorStores.change(rowOf(id), change, principal));
      },
      {
        params: StoreParams,
        parse: jsonBody,
        body: StoreChange,
        detail: describeOpenAi({ summary: 'Rename a vector store, or describe it', example: storeExample }),
      },
    )
    .delete(
      '/vector_stores/:id',
      async ({ params: { id }, principal }) => {
        await vectorStores.remove(rowOf(id), principal);
        return { id: toStoreId(rowOf(id)), object: 'vector_store.deleted', deleted: true };
      },
      {
        params: StoreParams,
        detail: describeOpenAi({
          summary: 'Delete a vector store',
          description: 'Its files stay.',
          example: { id: storeExample.id, object: 'vector_store.deleted', deleted: true },
        }),
      },
    )
    .post(
      '/vector_stores/:id/search',
      async ({ params: { id }, body, request: { signal } }) => {
        const { query, max_num_results: most, filters, ranking_options: ranking } = body;
        const queries = typeof query === 'string' ? [query] : query;
        const attributes = toMetadataFilter(filters);
        const minScore = ranking?.score_threshold ?? undefined;
        const hits = await vectorStores.search(
          [rowOf(id)],
          { queries, most: most ?? 10, attributes, minScore },
          signal,
        );
        return {
          object: 'vector_store.search_results.page',
          search_query: queries,
          data: hits.map(toStoreHit),
          has_more: false,
          next_page: null,
        };
      },
      {
        params: StoreParams,
        parse: jsonBody,
        body: SearchBody,
        detail: describeOpenAi({
          summary: 'Find passages in a vector store',
          description:
            'As `POST /api/v1/search` finds them. `filters` compare the attributes that files have in this store.',
          example: {
            object: 'vector_store.search_results.page',
            search_query: ['How many days of leave do I have?'],
            data: [hitExample],
            has_more: false,
            next_page: null,
          },
        }),
      },
    );
}
