/**
 * Embedding spaces and what each still lacks, as `dreamhub_system`; and, in the tenant's scope, the vectors and shadow
 * reads of one document or question. States of a space: `building` (written beside the active one, asked by shadow reads
 * alone) → `active` (one of all) → `standby` (still written, so that a rollback loses nothing) → `read_only` (not written
 * any more) → `retired` (its rows go).
 */
import type { Reach } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import type { Space } from '../db/spaces.ts';

/** Held shared by every publication (`sql/0031_space_switches.sql`), exclusively by a switch. */
const SWITCH_LOCK = 7_261_005_112;

export interface SpaceRow extends Space {
  shadowShare: number;
  observeHours: number;
  previousId: number | null;
  createdAt: Date;
  activatedAt: Date | null;
  changedAt: Date;
}

const columns = (sql: Sql) => sql`
  id, provider, model, dimensions, pipeline, state, cut, shadow_share as "shadowShare", observe_hours as "observeHours",
  previous_id as "previousId", created_at as "createdAt", activated_at as "activatedAt", changed_at as "changedAt"`;

/** Oldest first. */
export async function listSpaces(sql: Sql): Promise<SpaceRow[]> {
  return sql<SpaceRow[]>`select ${columns(sql)} from embedding_spaces order by id`;
}

export interface SpaceProgress {
  spaceId: number;
  /** Published documents that are whole in the space. */
  built: number;
  chunks: number;
}

const within = (sql: Sql, reach: Reach) =>
  reach.kind === 'tenant' ? sql`tenant_id = ${reach.tenantId}::uuid` : sql`true`;

export async function countBuilt(sql: Sql, reach: Reach): Promise<SpaceProgress[]> {
  return sql<SpaceProgress[]>`
    select space_id as "spaceId", count(*)::int as built, coalesce(sum(chunks), 0)::int as chunks from document_spaces
    where ${within(sql, reach)} group by space_id`;
}

export async function countPublished(sql: Sql, reach: Reach): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from documents where live_version is not null and ${within(sql, reach)}`;
  return row?.count ?? 0;
}

export interface ShadowReport {
  spaceId: number;
  compared: number;
  failed: number;
  /** Means over the questions, 0…1; null: none yet. */
  overlap: number | null;
  agreement: number | null;
}

export async function sumShadows(sql: Sql, reach: Reach): Promise<ShadowReport[]> {
  return sql<ShadowReport[]>`
    select space_id as "spaceId", sum(compared)::int as compared, sum(failed)::int as failed,
      (sum(overlap) / nullif(sum(compared), 0))::float8 as overlap,
      (sum(agreement) / nullif(sum(compared), 0))::float8 as agreement
    from space_shadows where ${within(sql, reach)} group by space_id`;
}

/** Published documents that are not whole in the space. */
async function countMissing(sql: Sql, spaceId: number): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from documents d where d.live_version is not null and not exists (
      select from document_spaces s
      where s.tenant_id = d.tenant_id and s.document_id = d.id and s.space_id = ${spaceId})`;
  return row?.count ?? 0;
}

export interface MissingDocument {
  tenantId: string;
  id: string;
  version: number;
  privateTo: string | null;
}

/** Some of them, from after `after` on, in order of tenant and document. */
export async function listMissing(
  sql: Sql,
  spaceId: number,
  { after, limit }: { after: MissingDocument | undefined; limit: number },
): Promise<MissingDocument[]> {
  return sql<MissingDocument[]>`
    select d.tenant_id as "tenantId", d.id, d.live_version as version, d.private_to as "privateTo" from documents d
    where d.live_version is not null
      ${after ? sql`and (d.tenant_id, d.id) > (${after.tenantId}::uuid, ${after.id}::uuid)` : sql``}
      and not exists (select from document_spaces s
        where s.tenant_id = d.tenant_id and s.document_id = d.id and s.space_id = ${spaceId})
    order by d.tenant_id, d.id limit ${limit}`;
}

/** Nothing is published until the transaction ends, and what was published before is seen by the statements after. */
async function lockSwitch(sql: Sql): Promise<void> {
  await sql`select pg_advisory_xact_lock(${SWITCH_LOCK})`;
}

export type Switched = { done: true } | { done: false; why: 'no_space' | 'state' | 'missing'; missing: number };

/**
 * Makes a space the active one, in this transaction: whoever searches sees the one or the other. The one before goes to
 * `standby`. Refuses a space that lacks documents, unless `anyway`: a way back is taken at once, and built up after.
 */
export async function switchTo(
  sql: Sql,
  id: number,
  { from, anyway }: { from: readonly Space['state'][]; anyway: boolean },
): Promise<Switched> {
  await lockSwitch(sql);
  const [space] = await sql<
    { state: Space['state'] }[]
  >`select state from embedding_spaces where id = ${id} for update`;
  if (!space) return { done: false, why: 'no_space', missing: 0 };
  if (!from.includes(space.state)) return { done: false, why: 'state', missing: 0 };
  const missing = await countMissing(sql, id);
  if (missing > 0 && !anyway) return { done: false, why: 'missing', missing };
  const [before] = await sql<{ id: number }[]>`
    update embedding_spaces set state = 'standby', changed_at = now() where state = 'active' returning id`;
  await sql`
    update embedding_spaces set state = 'active', changed_at = now(), activated_at = now(), previous_id = ${before?.id ?? null}
    where id = ${id}`;
  return { done: true };
}

/** Changes a state that is none of the active one's; undefined where the space is in none of `from`. */
export async function setSpaceState(
  sql: Sql,
  id: number,
  { from, to }: { from: readonly Space['state'][]; to: Exclude<Space['state'], 'active'> },
): Promise<SpaceRow | undefined> {
  const [row] = await sql<SpaceRow[]>`
    update embedding_spaces set state = ${to}, changed_at = now()
    where id = ${id} and state = any(${[...from]}::text[]) returning ${columns(sql)}`;
  return row;
}

export async function setSpaceOptions(
  sql: Sql,
  id: number,
  { shadowShare, observeHours }: { shadowShare?: number | undefined; observeHours?: number | undefined },
): Promise<void> {
  await sql`
    update embedding_spaces set shadow_share = ${shadowShare === undefined ? sql`shadow_share` : shadowShare},
      observe_hours = ${observeHours === undefined ? sql`observe_hours` : observeHours}
    where id = ${id}`;
}

/** Spaces whose time in their state is over: `standby` ends by the space's own hours, `read_only` after `keepHours`. */
export async function endPhases(sql: Sql, keepHours: number): Promise<SpaceRow[]> {
  return sql<SpaceRow[]>`
    update embedding_spaces set state = case state when 'standby' then 'read_only' else 'retired' end, changed_at = now()
    where (state = 'standby' and changed_at < now() - observe_hours * interval '1 hour')
      or (state = 'read_only' and changed_at < now() - ${keepHours} * interval '1 hour')
    returning ${columns(sql)}`;
}

/** Takes the building of a space for `leaseMs`, or renews it; false where somebody else builds it. */
export async function claimSpace(sql: Sql, id: number, holder: string, leaseMs: number): Promise<boolean> {
  const rows = await sql`
    update embedding_spaces set holder = ${holder}, leased_until = now() + ${leaseMs} * interval '1 millisecond'
    where id = ${id} and state <> 'retired' and (holder is null or holder = ${holder} or leased_until < now()) returning 1`;
  return rows.length > 0;
}

export async function releaseSpace(sql: Sql, id: number, holder: string): Promise<void> {
  await sql`update embedding_spaces set holder = null, leased_until = null where id = ${id} and holder = ${holder}`;
}

/** Removes what a retired space has left beside its partitions, some at a time; returns how many rows went. */
export async function forgetRetired(sql: Sql, id: number, most: number): Promise<number> {
  const rows = await sql`
    delete from document_spaces where (tenant_id, document_id, space_id) in (
      select tenant_id, document_id, space_id from document_spaces where space_id = ${id} limit ${most})
    returning 1`;
  await sql`delete from vector_tiers where space_id = ${id}`;
  await sql`delete from space_shadows where space_id = ${id}`;
  await sql`delete from space_failures where space_id = ${id}`;
  return rows.length;
}

export interface FailureRow {
  tenant_id: string;
  document_id: string;
  code: string;
  message: string;
  attempts: number;
  given_up: boolean;
  failed_at: Date;
}

/** Documents that could not be read for a space, by tenant and document, from after `after` on. */
export async function listFailures(
  sql: Sql,
  spaceId: number,
  { reach, after, limit }: { reach: Reach; after: readonly [string, string] | undefined; limit: number },
): Promise<FailureRow[]> {
  return sql<FailureRow[]>`
    select tenant_id, document_id, code, message, attempts, given_up, failed_at from space_failures
    where space_id = ${spaceId} and ${within(sql, reach)}
      ${after ? sql`and (tenant_id, document_id) > (${after[0]}::uuid, ${after[1]}::uuid)` : sql``}
    order by tenant_id, document_id limit ${limit}`;
}

export async function countFailures(sql: Sql, reach: Reach): Promise<{ spaceId: number; failed: number }[]> {
  return sql<{ spaceId: number; failed: number }[]>`
    select space_id as "spaceId", count(*)::int as failed from space_failures where ${within(sql, reach)} group by space_id`;
}

/** Cuts of which every space is retired, and that were not cleared away yet. */
export async function listLeftCuts(sql: Sql): Promise<number[]> {
  const rows = await sql<{ cut: number }[]>`
    select cut from embedding_spaces group by cut having bool_and(state = 'retired') and bool_or(cleared_at is null)`;
  return rows.map(({ cut }) => cut);
}

export async function markCleared(sql: Sql, cut: number): Promise<void> {
  await sql`update embedding_spaces set cleared_at = now() where cut = ${cut}`;
}

export interface Place {
  tenantId: string;
  documentId: string;
  privateTo: string | null;
}

/** Documents that a cut still shows. */
export async function listOfCut(
  sql: Sql,
  cut: number,
  { after, limit }: { after: Place | undefined; limit: number },
): Promise<Place[]> {
  return sql<Place[]>`
    select tenant_id as "tenantId", document_id as "documentId", private_to as "privateTo" from lexical_documents
    where cut = ${cut} ${after ? sql`and (tenant_id, document_id) > (${after.tenantId}::uuid, ${after.documentId}::uuid)` : sql``}
    order by tenant_id, document_id limit ${limit}`;
}

/** Versions that were begun by a pipeline that no space asks for any more. */
export async function listAbandoned(sql: Sql, limit: number): Promise<(Place & { version: number })[]> {
  return sql<(Place & { version: number })[]>`
    select tenant_id as "tenantId", document_id as "documentId", private_to as "privateTo", version from document_versions v
    where chunks is null and not exists (
      select from embedding_spaces e where e.pipeline = v.pipeline and e.state <> 'retired')
    limit ${limit}`;
}

/** Whose segments of a cut there are. */
export async function listSegmentsOfCut(sql: Sql, cut: number): Promise<Omit<Place, 'documentId'>[]> {
  return sql<Omit<Place, 'documentId'>[]>`
    select distinct tenant_id as "tenantId", private_to as "privateTo" from lexical_segments where cut = ${cut}`;
}
