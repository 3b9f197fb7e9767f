import type {
  Attributes,
  DocumentStatus,
  IdPage,
  NewVectorStoreFile,
  VectorStore,
  VectorStoreFile,
} from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

type StoreRow = Omit<VectorStore, 'files'> & VectorStore['files'];

/** With what is in it for the ambient user. */
const stores = (sql: Sql) => sql`
  select s.id, s.owner_id, s.name, s.metadata, s.created_at, s.last_active_at, f.size, f.working, f.ready, f.failed
  from vector_stores s left join lateral (
    select coalesce(sum(d.size), 0)::float8 as size,
      count(*) filter (where d.status in ('queued', 'processing'))::int as working,
      count(*) filter (where d.status = 'ready')::int as ready,
      count(*) filter (where d.status in ('failed', 'quarantined'))::int as failed
    from vector_store_files f join documents d on d.tenant_id = f.tenant_id and d.id = f.document_id
    where f.tenant_id = s.tenant_id and f.store_id = s.id) f on true`;

const toStore = ({ working, ready, failed, ...store }: StoreRow): VectorStore => ({
  ...store,
  files: { working, ready, failed },
});

/** What lies on the page, of a column of ids. */
function onPage(sql: Sql, column: string, { order, after, before }: IdPage) {
  const id = sql(column);
  const [later, earlier] = order === 'asc' ? [after, before] : [before, after];
  return sql`${later === undefined ? sql`` : sql`and ${id} > ${later}`} ${earlier === undefined ? sql`` : sql`and ${id} < ${earlier}`}`;
}

const inOrder = (sql: Sql, order: IdPage['order']) => (order === 'asc' ? sql`asc` : sql`desc`);

export async function insertStore(
  sql: Sql,
  { id, name, metadata }: Pick<VectorStore, 'id' | 'name' | 'metadata'>,
): Promise<void> {
  await sql`insert into vector_stores (id, name, metadata) values (${id}, ${name}, ${sql.json(metadata)})`;
}

export async function getStore(sql: Sql, id: string): Promise<VectorStore | undefined> {
  const [row] = await sql<StoreRow[]>`
    ${stores(sql)} where s.tenant_id = current_setting('app.tenant_id')::uuid and s.id = ${id}`;
  return row && toStore(row);
}

export async function listStores(sql: Sql, page: IdPage): Promise<VectorStore[]> {
  const rows = await sql<StoreRow[]>`
    ${stores(sql)} where s.tenant_id = current_setting('app.tenant_id')::uuid ${onPage(sql, 's.id', page)}
    order by s.id ${inOrder(sql, page.order)} limit ${page.limit}`;
  return rows.map(toStore);
}

/** What is absent stays. */
export async function changeStore(
  sql: Sql,
  id: string,
  { name, metadata }: { name?: string | undefined; metadata?: Record<string, string> | undefined },
): Promise<void> {
  await sql`
    update vector_stores set name = coalesce(${name ?? null}, name),
      metadata = coalesce(${metadata === undefined ? null : sql.json(metadata)}, metadata), last_active_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

export async function deleteStore(sql: Sql, id: string): Promise<void> {
  await sql`delete from vector_stores where tenant_id = current_setting('app.tenant_id')::uuid and id = ${id}`;
}

type FileRow = Omit<VectorStoreFile, 'error'> & { error_code: string | null; error_message: string | null };

const files = (sql: Sql) => sql`
  select f.store_id, f.document_id, f.attributes, f.batch_id, f.created_at, d.filename, d.size::float8 as size, d.status,
    d.error_code, d.error_message
  from vector_store_files f join documents d on d.tenant_id = f.tenant_id and d.id = f.document_id
  where f.tenant_id = current_setting('app.tenant_id')::uuid`;

const toFile = ({ error_code: code, error_message: message, ...file }: FileRow): VectorStoreFile => ({
  ...file,
  error: code === null ? null : { code, message: message ?? '' },
});

/**
 * Adds those that the ambient user may see, or changes their attributes where they are in it; returns how many there are.
 */
export async function insertFiles(
  sql: Sql,
  storeId: string,
  batchId: string | null,
  added: readonly NewVectorStoreFile[],
): Promise<number> {
  const rows = await sql`
    insert into vector_store_files (store_id, document_id, attributes, batch_id)
    select ${storeId}, d.id, a.attributes::jsonb, ${batchId}
    from unnest(${added.map(({ document_id }) => document_id)}::uuid[],
      ${added.map(({ attributes }) => JSON.stringify(attributes))}::text[]) as a(document_id, attributes)
    join documents d on d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = a.document_id
    on conflict (tenant_id, store_id, document_id) do update
      set attributes = excluded.attributes, batch_id = coalesce(excluded.batch_id, vector_store_files.batch_id)
    returning 1`;
  return rows.length;
}

export async function getFile(sql: Sql, storeId: string, documentId: string): Promise<VectorStoreFile | undefined> {
  const [row] = await sql<FileRow[]>`${files(sql)} and f.store_id = ${storeId} and f.document_id = ${documentId}`;
  return row && toFile(row);
}

const OF_STATE: Record<'working' | 'ready' | 'failed', readonly DocumentStatus[]> = {
  working: ['queued', 'processing'],
  ready: ['ready'],
  failed: ['failed', 'quarantined'],
};

export async function listFiles(
  sql: Sql,
  storeId: string,
  { batchId, state, ...page }: IdPage & { batchId?: string | undefined; state?: keyof typeof OF_STATE | undefined },
): Promise<VectorStoreFile[]> {
  const rows = await sql<FileRow[]>`
    ${files(sql)} and f.store_id = ${storeId} ${onPage(sql, 'f.document_id', page)}
      ${batchId === undefined ? sql`` : sql`and f.batch_id = ${batchId}`}
      ${state === undefined ? sql`` : sql`and d.status = any(${OF_STATE[state]})`}
    order by f.document_id ${inOrder(sql, page.order)} limit ${page.limit}`;
  return rows.map(toFile);
}

/** How many files of a batch there are in each state, and since when. */
export async function countBatch(
  sql: Sql,
  storeId: string,
  batchId: string,
): Promise<(VectorStore['files'] & { created_at: Date | null }) | undefined> {
  const [row] = await sql<(VectorStore['files'] & { created_at: Date | null })[]>`
    select count(*) filter (where d.status in ('queued', 'processing'))::int as working,
      count(*) filter (where d.status = 'ready')::int as ready,
      count(*) filter (where d.status in ('failed', 'quarantined'))::int as failed, min(f.created_at) as created_at
    from vector_store_files f join documents d on d.tenant_id = f.tenant_id and d.id = f.document_id
    where f.tenant_id = current_setting('app.tenant_id')::uuid and f.store_id = ${storeId} and f.batch_id = ${batchId}`;
  return row;
}

export async function setAttributes(
  sql: Sql,
  storeId: string,
  documentId: string,
  attributes: Attributes,
): Promise<void> {
  await sql`
    update vector_store_files set attributes = ${sql.json(attributes)}
    where tenant_id = current_setting('app.tenant_id')::uuid and store_id = ${storeId} and document_id = ${documentId}`;
}

export async function deleteFile(sql: Sql, storeId: string, documentId: string): Promise<boolean> {
  const rows = await sql`
    delete from vector_store_files
    where tenant_id = current_setting('app.tenant_id')::uuid and store_id = ${storeId} and document_id = ${documentId}
    returning 1`;
  return rows.length > 0;
}

/** The attributes that documents have in these stores; of one that is in several, in the first of them. */
export async function attributesOf(
  sql: Sql,
  storeIds: readonly string[],
  documentIds: readonly string[],
): Promise<Map<string, Attributes>> {
  const rows = await sql<{ document_id: string; attributes: Attributes }[]>`
    select distinct on (document_id) document_id, attributes from vector_store_files
    where tenant_id = current_setting('app.tenant_id')::uuid and store_id = any(${storeIds}::uuid[])
      and document_id = any(${documentIds}::uuid[])
    order by document_id, array_position(${storeIds}::uuid[], store_id)`;
  return new Map(rows.map(({ document_id, attributes }) => [document_id, attributes]));
}

/** Which of these stores there are. */
export async function knownStores(sql: Sql, ids: readonly string[]): Promise<Set<string>> {
  const rows = await sql<{ id: string }[]>`
    select id from vector_stores where tenant_id = current_setting('app.tenant_id')::uuid and id = any(${ids}::uuid[])`;
  return new Set(rows.map(({ id }) => id));
}
