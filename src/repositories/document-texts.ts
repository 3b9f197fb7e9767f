/**
 * Texts of versions, which offsets of answers count in. What searches show is there anyway; the text of a version that they
 * no longer show is kept while an answer cites it, or for a day (`sql/0178_cited_texts.sql`).
 */
import type { Source, SourceState } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { documentsAsShown } from './documents.ts';

/** What nobody cites is looked at before its day is over, once so many newer ones of its document are kept. */
const KEPT_UNCITED = 16;
/** The most texts that are kept of one document beside the shown ones, however often they are cited. */
const KEPT_CITED = 1_000;

/** Keeps the texts of versions that no search shows any more; those that are beyond what a document may have are soon looked at. */
export async function keepTexts(sql: Sql, documentId: string, versions: readonly number[]): Promise<void> {
  await sql`
    insert into kept_texts (document_id, version, private_to)
    select d.id, v.version, d.private_to from documents d cross join unnest(${[...versions]}::int[]) as v(version)
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId}
    on conflict do nothing`;
  const beyond = (most: number) => sql`
    (select version from kept_texts
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId}
    order by version desc offset ${most} limit ${versions.length})`;
  await sql`
    update kept_texts set look_at = now()
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and look_at > now()
      and version in (${beyond(KEPT_UNCITED)} union all ${beyond(KEPT_CITED)})`;
}

/** Undefined where the document is not there; false where no answer could have cited the version, or its text is not kept. */
export async function isTextKept(sql: Sql, documentId: string, version: number): Promise<boolean | undefined> {
  const [row] = await sql<{ kept: boolean }[]>`
    select coalesce(d.live_version = ${version}, false) or ${isReadable(sql, sql`${version}::int`)} as kept
    from documents d where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = ${documentId}`;
  return row?.kept;
}

/** Whether a version of a document `d` is shown by some pipeline, or kept. */
const isReadable = (sql: Sql, version: ReturnType<Sql>) => sql`(
  exists (select from lexical_documents l
    where l.tenant_id = d.tenant_id and l.document_id = d.id and l.version = ${version})
  or exists (select from kept_texts k
    where k.tenant_id = d.tenant_id and k.document_id = d.id and k.version = ${version}))`;

type StoredSource = Omit<Source, 'version' | 'state'> & Partial<Source>;

/** Sources as they were stored, in lists of any number, with what has become of the texts that they count in. */
export async function withStates<T extends { sources: readonly StoredSource[] }>(
  sql: Sql,
  rows: readonly T[],
): Promise<(T & { sources: Source[] })[]> {
  const cited = new Map<string, { id: string; version: number | null }>();
  for (const { sources } of rows) {
    for (const { document_id: id, version = null } of sources) cited.set(`${id}/${version}`, { id, version });
  }
  const states = cited.size === 0 ? new Map<string, SourceState>() : await readStates(sql, [...cited.values()]);
  return rows.map((row) => ({
    ...row,
    sources: row.sources.map((source) => {
      const { version = null } = source;
      return { ...source, version, state: states.get(`${source.document_id}/${version}`) ?? 'deleted' };
    }),
  }));
}

async function readStates(
  sql: Sql,
  cited: readonly { id: string; version: number | null }[],
): Promise<Map<string, SourceState>> {
  const rows = await sql<{ id: string; version: number | null; state: SourceState }[]>`
    select d.id, c.version, case when c.version = coalesce(s.version, d.live_version) then 'current'
      when ${isReadable(sql, sql`c.version`)} then 'replaced'
      else 'unavailable' end as state
    from unnest(${cited.map(({ id }) => id)}::uuid[], ${cited.map(({ version }) => version)}::int[]) as c(id, version)
    cross join ${documentsAsShown(sql)}
    where d.tenant_id = current_setting('app.tenant_id')::uuid and d.id = c.id`;
  return new Map(rows.map(({ id, version, state }) => [`${id}/${version}`, state]));
}

export interface DueText {
  tenantId: string;
  documentId: string;
  version: number;
  /** Who alone may see it; null: the tenant. */
  privateTo: string | null;
  /** An answer cites it, and its document has no more of them than it may. */
  needed: boolean;
}

/** Kept texts that are due to be looked at, longest due first. As `dreamhub_system`. */
export async function listDueTexts(sql: Sql, limit: number): Promise<DueText[]> {
  return sql<DueText[]>`
    select k.tenant_id as "tenantId", k.document_id as "documentId", k.version, k.private_to as "privateTo",
      exists (select from turn_citations c
        where c.tenant_id = k.tenant_id and c.document_id = k.document_id and c.version = k.version)
      and not exists (select from kept_texts n
        where n.tenant_id = k.tenant_id and n.document_id = k.document_id and n.version > k.version
        offset ${KEPT_CITED - 1}) as needed
    from kept_texts k where k.look_at <= now() order by k.look_at limit ${limit}`;
}

type KeptText = Pick<DueText, 'documentId' | 'version'>;

/** A text that is still cited is looked at again in a week. */
export async function postponeText(sql: Sql, { documentId, version }: KeptText): Promise<void> {
  await sql`
    update kept_texts set look_at = now() + interval '7 days'
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}`;
}

/** False where it was not kept any more. */
export async function forgetText(sql: Sql, { documentId, version }: KeptText): Promise<boolean> {
  const rows = await sql`
    delete from kept_texts
    where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${documentId} and version = ${version}
    returning 1`;
  return rows.length > 0;
}
