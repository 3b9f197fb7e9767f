/** `/v1/vector_stores/{id}/files` and `…/file_batches`: which documents are in a store, with which attributes. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import type { VectorStores } from '../../services/vector-stores.ts';
import { jsonBody } from '../json-body.ts';
import { oneOf } from '../models/one-of.ts';
import { authenticated } from '../plugins/auth.ts';
import { describeOpenAi } from './documentation.ts';
import { BatchId, FileId, params, rowOf, StoreId, toFileId } from './ids.ts';
import { ListQuery, toIdPage, toList } from './lists.ts';
import { unsupported } from './messages.ts';
import { optional, Parameters } from './parameters.ts';
import { Attributes, batchExample, storeFileExample, toBatch, toStoreFile } from './vector-store-forms.ts';

const MOST_FILES = 500;
const FILE = 'file-01985f2c-40aa-7be5-93d0-a1b2c3d4e001';

const StoreParams = params({ id: StoreId });
const StoreFileParams = params({ id: StoreId, file: FileId });
const BatchParams = params({ id: StoreId, batch: BatchId });

const NewFile = Parameters(
  { file_id: FileId, attributes: optional(Attributes), chunking_strategy: optional(Type.Unknown()) },
  { example: { file_id: FILE, attributes: { department: 'people' } } },
);
const FileChange = Parameters(
  { attributes: Type.Union([Attributes, Type.Null()]) },
  {
    example: { attributes: { department: 'people' } },
  },
);
const NewBatch = Parameters(
  {
    file_ids: optional(Type.Array(FileId, { minItems: 1, maxItems: MOST_FILES })),
    files: optional(
      Type.Array(
        Type.Object({ file_id: FileId, attributes: optional(Attributes), chunking_strategy: optional(Type.Unknown()) }),
        { minItems: 1, maxItems: MOST_FILES },
      ),
    ),
    attributes: optional(Attributes),
    chunking_strategy: optional(Type.Unknown()),
  },
  { example: { file_ids: [FILE], attributes: { department: 'people' } } },
);

const STATES = { in_progress: 'working', completed: 'ready', failed: 'failed' } as const;
const FilesQuery = Type.Composite([
  ListQuery,
  Type.Object({ filter: Type.Optional(oneOf(['in_progress', 'completed', 'failed', 'cancelled'])) }),
]);

const listExample = {
  object: 'list',
  data: [storeFileExample],
  first_id: storeFileExample.id,
  last_id: storeFileExample.id,
  has_more: false,
};

export function createOpenAiVectorStoreFiles({ vectorStores }: { vectorStores: VectorStores }) {
  async function list(id: string, query: typeof FilesQuery.static, batch?: string) {
    const { filter, limit } = query;
    // Nothing that is in a store is ever cancelled.
    if (filter === 'cancelled') return toList([], limit);
    const files = await vectorStores.files(rowOf(id), {
      ...toIdPage(query),
      batchId: batch === undefined ? undefined : rowOf(batch),
      state: filter === undefined ? undefined : STATES[filter],
    });
    return toList(files.map(toStoreFile), limit);
  }

  return new Elysia({ name: 'openai.vector-store-files' })
    .use(authenticated)
    .post(
      '/vector_stores/:id/files',
      async ({ params: { id }, body: { file_id: file, attributes } }) =>
        toStoreFile(await vectorStores.add(rowOf(id), { document_id: rowOf(file), attributes: attributes ?? {} })),
      {
        params: StoreParams,
        parse: jsonBody,
        body: NewFile,
        detail: describeOpenAi({ summary: 'Put a file into a vector store', example: storeFileExample }),
      },
    )
    .get('/vector_stores/:id/files', ({ params: { id }, query }) => list(id, query), {
      params: StoreParams,
      query: FilesQuery,
      detail: describeOpenAi({ summary: 'The files of a vector store', example: listExample }),
    })
    .get(
      '/vector_stores/:id/files/:file',
      async ({ params: { id, file } }) => toStoreFile(await vectorStores.file(rowOf(id), rowOf(file))),
      {
        params: StoreFileParams,
        detail: describeOpenAi({ summary: 'One file of a vector store', example: storeFileExample }),
      },
    )
    .post(
      '/vector_stores/:id/files/:file',
      async ({ params: { id, file }, body: { attributes } }) =>
        toStoreFile(await vectorStores.describe(rowOf(id), rowOf(file), attributes ?? {})),
      {
        params: StoreFileParams,
        parse: jsonBody,
        body: FileChange,
        detail: describeOpenAi({ summary: 'Change the attributes of a file', example: storeFileExample }),
      },
    )
    .delete(
      '/vector_stores/:id/files/:file',
      async ({ params: { id, file } }) => {
        await vectorStores.take(rowOf(id), rowOf(file));
        return { id: toFileId(rowOf(file)), object: 'vector_store.file.deleted', deleted: true };
      },
      {
        params: StoreFileParams,
        detail: describeOpenAi({
          summary: 'Take a file out of a vector store',
          description: 'It stays among the files.',
          example: { id: FILE, object: 'vector_store.file.deleted', deleted: true },
        }),
      },
    )
    .post(
      '/vector_stores/:id/file_batches',
      async ({ params: { id }, body: { file_ids: ids, files, attributes } }) => {
        const named = ids?.map((file) => ({ document_id: rowOf(file), attributes: attributes ?? {} })) ?? [];
        const described =
          files?.map((one) => ({ document_id: rowOf(one.file_id), attributes: one.attributes ?? {} })) ?? [];
        const all = [...named, ...described];
        if (all.length === 0) throw unsupported('file_ids', 'At least one file is needed');
        return toBatch(await vectorStores.addBatch(rowOf(id), all));
      },
      {
        params: StoreParams,
        parse: jsonBody,
        body: NewBatch,
        detail: describeOpenAi({
          summary: 'Put files into a vector store together',
          description: 'All of them or, where one is not there, none.',
          example: batchExample,
        }),
      },
    )
    .get(
      '/vector_stores/:id/file_batches/:batch',
      async ({ params: { id, batch } }) => toBatch(await vectorStores.batch(rowOf(id), rowOf(batch))),
      {
        params: BatchParams,
        detail: describeOpenAi({ summary: 'What became of files added together', example: batchExample }),
      },
    )
    .get('/vector_stores/:id/file_batches/:batch/files', ({ params: { id, batch }, query }) => list(id, query, batch), {
      params: BatchParams,
      query: FilesQuery,
      detail: describeOpenAi({ summary: 'The files of a batch', example: listExample }),
    })
    .post(
      '/vector_stores/:id/file_batches/:batch/cancel',
      async ({ params: { id, batch } }) => toBatch(await vectorStores.batch(rowOf(id), rowOf(batch))),
      {
        params: BatchParams,
        parse: 'none',
        detail: describeOpenAi({
          summary: 'Cancel a batch',
          description:
            'The files are in the store from the moment they were added, so there is nothing left to cancel.',
          example: batchExample,
        }),
      },
    );
}
