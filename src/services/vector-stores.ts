/**
 * Sets of documents under a name. A store is its tenant's, what is in it each user sees as far as the documents are the
 * user's to see; only who made a store, an admin or an owner changes or deletes the store itself.
 */
import type {
  Attributes,
  IdPage,
  MetadataFilter,
  NewVectorStoreFile,
  Principal,
  SearchHit,
  VectorStore,
  VectorStoreFile,
} from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import {
  attributesOf,
  changeStore,
  countBatch,
  deleteFile,
  deleteStore,
  getFile,
  getStore,
  insertFiles,
  insertStore,
  knownStores,
  listFiles,
  listStores,
  setAttributes,
} from '../repositories/vector-stores.ts';
import { may } from './access.ts';
import type { Search } from './search.ts';

export interface StoreBatch {
  id: string;
  store_id: string;
  files: VectorStore['files'];
  created_at: Date;
}

export interface StoreQuestion {
  queries: readonly string[];
  most: number;
  attributes?: MetadataFilter | undefined;
  /** Hits below this score are left out, 0…1. */
  minScore?: number | undefined;
}

export interface StoreHit {
  hit: SearchHit;
  attributes: Attributes;
}

export interface VectorStores {
  create(store: { name: string; metadata: Record<string, string>; files: readonly string[] }): Promise<VectorStore>;
  get(id: string): Promise<VectorStore>;
  list(page: IdPage): Promise<VectorStore[]>;
  change(
    id: string,
    change: { name?: string | undefined; metadata?: Record<string, string> | undefined },
    by: Principal,
  ): Promise<VectorStore>;
  /** The documents stay. */
  remove(id: string, by: Principal): Promise<void>;
  /** Adds a document, or changes the attributes of one that is in it. */
  add(id: string, file: NewVectorStoreFile): Promise<VectorStoreFile>;
  /** All of them or, where one is not there, none. */
  addBatch(id: string, files: readonly NewVectorStoreFile[]): Promise<StoreBatch>;
  batch(id: string, batchId: string): Promise<StoreBatch>;
  file(id: string, documentId: string): Promise<VectorStoreFile>;
  files(id: string, query: Parameters<typeof listFiles>[2]): Promise<VectorStoreFile[]>;
  describe(id: string, documentId: string, attributes: Attributes): Promise<VectorStoreFile>;
  /** Takes a document out; it stays among the documents. */
  take(id: string, documentId: string): Promise<void>;
  /** The best passages over all queries, best first. Throws `not_found` where one of the stores is not there. */
  search(ids: readonly string[], question: StoreQuestion, signal?: AbortSignal): Promise<StoreHit[]>;
  /** Throws `not_found` where one of the stores is not there. */
  assertThere(ids: readonly string[]): Promise<void>;
}

export interface VectorStoresOptions {
  database: Database;
  search: Pick<Search, 'hits'>;
  ids: Ids;
}

const noStore = () => new AppError('not_found', 'There is no such vector store.');
const noFile = () => new AppError('not_found', 'There is no such file in the vector store.');

export function createVectorStores({ database, search, ids }: VectorStoresOptions): VectorStores {
  async function there(sql: Sql, id: string): Promise<VectorStore> {
    const store = await getStore(sql, id);
    if (!store) throw noStore();
    return store;
  }

  async function own(sql: Sql, id: string, by: Principal): Promise<void> {
    const { owner_id: owner } = await there(sql, id);
    if (owner !== by.userId && !may(by, 'manage')) {
      throw new AppError('forbidden', 'Only who made this vector store, an admin or an owner may do this.');
    }
  }

  /** All or, by the error, none. */
  async function put(
    sql: Sql,
    id: string,
    batchId: string | null,
    files: readonly NewVectorStoreFile[],
  ): Promise<void> {
    const wanted = [...new Map(files.map((file) => [file.document_id, file])).values()];
    if (wanted.length === 0) return;
    if ((await insertFiles(sql, id, batchId, wanted)) < wanted.length) {
      throw new AppError('not_found', 'There is no such file.', {
        errors: [{ path: 'file_ids', message: 'one of the files is not there' }],
      });
    }
  }

  async function fileOf(sql: Sql, id: string, documentId: string): Promise<VectorStoreFile> {
    const file = await getFile(sql, id, documentId);
    if (!file) throw (await getStore(sql, id)) ? noFile() : noStore();
    return file;
  }

  async function batchOf(sql: Sql, id: string, batchId: string): Promise<StoreBatch> {
    const found = await countBatch(sql, id, batchId);
    if (!found || found.created_at === null) throw new AppError('not_found', 'There is no such batch of files.');
    const { created_at: createdAt, ...files } = found;
    return { id: batchId, store_id: id, files, created_at: createdAt };
  }

  async function assertThere(storeIds: readonly string[]): Promise<void> {
    const known = await database.tenant((sql) => knownStores(sql, storeIds));
    if (!storeIds.every((id) => known.has(id))) throw noStore();
  }

  return {
    assertThere,

    create: ({ name, metadata, files }) =>
      database.tenant(async (sql) => {
        const id = ids.uuid();
        await insertStore(sql, { id, name, metadata });
        await put(
          sql,
          id,
          null,
          files.map((document_id) => ({ document_id, attributes: {} })),
        );
        return there(sql, id);
      }),

    get: (id) => database.tenant((sql) => there(sql, id)),
    list: (page) => database.tenant((sql) => listStores(sql, page)),

    change: (id, change, by) =>
      database.tenant(async (sql) => {
        await own(sql, id, by);
        await changeStore(sql, id, change);
        return there(sql, id);
      }),

    remove: (id, by) =>
      database.tenant(async (sql) => {
        await own(sql, id, by);
        await deleteStore(sql, id);
      }),

    add: (id, file) =>
      database.tenant(async (sql) => {
        await there(sql, id);
        await put(sql, id, null, [file]);
        return fileOf(sql, id, file.document_id);
      }),

    addBatch: (id, files) =>
      database.tenant(async (sql) => {
        await there(sql, id);
        const batchId = ids.uuid();
        await put(sql, id, batchId, files);
        return batchOf(sql, id, batchId);
      }),

    batch: (id, batchId) => database.tenant((sql) => batchOf(sql, id, batchId)),
    file: (id, documentId) => database.tenant((sql) => fileOf(sql, id, documentId)),

    files: (id, query) =>
      database.tenant(async (sql) => {
        await there(sql, id);
        return listFiles(sql, id, query);
      }),

    describe: (id, documentId, attributes) =>
      database.tenant(async (sql) => {
        await setAttributes(sql, id, documentId, attributes);
        return fileOf(sql, id, documentId);
      }),

    take: (id, documentId) =>
      database.tenant(async (sql) => {
        if (!(await deleteFile(sql, id, documentId))) throw noFile();
      }),

    async search(storeIds, { queries, most, attributes, minScore }, signal) {
      await assertThere(storeIds);
      const filter = { stores: { ids: [...storeIds], ...(attributes && { attributes }) } };
      const best = new Map<string, SearchHit>();
      for (const query of queries) {
        const request = { query, top_k: most, mode: 'hybrid' as const, filter };
        for (const hit of await search.hits(
          { ...request, ...(minScore !== undefined && { min_score: minScore }) },
          signal,
        )) {
          if ((best.get(hit.chunk_id)?.score ?? -1) < hit.score) best.set(hit.chunk_id, hit);
        }
      }
      const hits = [...best.values()].sort((a, b) => b.score - a.score).slice(0, most);
      const known = await database.tenant((sql) =>
        attributesOf(
          sql,
          storeIds,
          hits.map(({ document_id: id }) => id),
        ),
      );
      return hits.map((hit) => ({ hit, attributes: known.get(hit.document_id) ?? {} }));
    },
  };
}
