/**
 * Who is searched how (`vectors.ts`), over all tenants, as `dreamhub_system`: sizes and leases. What is in the documents
 * stays in the tenant's scope, where the work goes on; so a tenant is a parameter here, as in `installation.ts`.
 */
import type { Sql } from '../db/database.ts';
import type { Tier } from './vectors.ts';

export interface TierState extends Tier {
  tenantId: string;
  spaceId: number;
  /** Chunks that vector search may find in the space. */
  chunks: number;
  /** Of them: without codes, with codes in shard 0, and in another shard. */
  uncoded: number;
  scanned: number;
  sharded: number;
  /** Chunks when recall was measured last; 0: never. */
  measuredAt: number;
  refusedAt: number | null;
}

/**
 * Tenants that have a tier, or are large enough for one. Reads a row a document, not a chunk: some 0.1 s a million.
 * Retired spaces are searched by nobody.
 */
export async function listTierStates(sql: Sql, least: number): Promise<TierState[]> {
  return sql<TierState[]>`
    with sizes as (
      select s.tenant_id, s.space_id, sum(s.chunks)::int as chunks,
        coalesce(sum(s.chunks) filter (where s.shard is null), 0)::int as uncoded,
        coalesce(sum(s.chunks) filter (where s.shard = 0), 0)::int as scanned,
        coalesce(sum(s.chunks) filter (where s.shard > 0), 0)::int as sharded
      from document_spaces s group by s.tenant_id, s.space_id
    )
    select coalesce(t.tenant_id, s.tenant_id) as "tenantId", e.id as "spaceId", e.dimensions,
      coalesce(s.chunks, 0) as chunks, coalesce(s.uncoded, 0) as uncoded, coalesce(s.scanned, 0) as scanned,
      coalesce(s.sharded, 0) as sharded, coalesce(t.tier, 'exact') as tier, t.shard, coalesce(t.candidates, 0) as candidates,
      coalesce(t.chunks, 0)::int as "measuredAt", t.refused_at_chunks::int as "refusedAt"
    from sizes s full join vector_tiers t on t.tenant_id = s.tenant_id and t.space_id = s.space_id
    join embedding_spaces e on e.id = coalesce(t.space_id, s.space_id) and e.state <> 'retired'
    where t.tenant_id is not null or s.chunks >= ${least}
    order by s.chunks desc nulls last`;
}

/** The scopes that a tenant's documents in a space need: the owners of private ones, and null for the others. */
export async function listOwners(
  sql: Sql,
  { tenantId, spaceId }: TierKey,
): Promise<{ owner: string | null; chunks: number }[]> {
  return sql<{ owner: string | null; chunks: number }[]>`
    select private_to as owner, sum(chunks)::int as chunks from document_spaces
    where tenant_id = ${tenantId} and space_id = ${spaceId} group by private_to order by chunks desc`;
}

export interface TierKey {
  tenantId: string;
  spaceId: number;
}

/** Takes a tenant's codes in a space for `leaseMs`, or renews what `holder` has; false where somebody else is at them. */
export async function claimTier(sql: Sql, key: TierKey, holder: string, leaseMs: number): Promise<boolean> {
  const rows = await sql`
    insert into vector_tiers as t (tenant_id, space_id, holder, leased_until)
    values (${key.tenantId}, ${key.spaceId}, ${holder}, now() + ${leaseMs} * interval '1 millisecond')
    on conflict (tenant_id, space_id) do update set holder = excluded.holder, leased_until = excluded.leased_until
      where t.holder is null or t.holder = excluded.holder or t.leased_until < now()
    returning 1`;
  return rows.length > 0;
}

/** Gives the lease back, if `holder` still has it. */
export async function releaseTier(sql: Sql, key: TierKey, holder: string): Promise<void> {
  await sql`update vector_tiers set holder = null, leased_until = null
    where tenant_id = ${key.tenantId} and space_id = ${key.spaceId} and holder = ${holder}`;
}

export interface TierChange {
  tier?: Tier['tier'];
  shard?: number | null;
  candidates?: number;
  recall?: number | null;
  chunks?: number;
  refusedAt?: number | null;
}

/** Writes down what is in force; false where the lease is somebody else's by now. */
export async function changeTier(sql: Sql, key: TierKey, holder: string, change: TierChange): Promise<boolean> {
  const { tier, shard, candidates, recall, chunks, refusedAt } = change;
  const rows = await sql`
    update vector_tiers set changed_at = now(),
      tier = ${tier === undefined ? sql`tier` : tier},
      shard = ${shard === undefined ? sql`shard` : shard},
      candidates = ${candidates === undefined ? sql`candidates` : candidates},
      recall = ${recall === undefined ? sql`recall` : recall},
      chunks = ${chunks === undefined ? sql`chunks` : chunks},
      refused_at_chunks = ${refusedAt === undefined ? sql`refused_at_chunks` : refusedAt}
    where tenant_id = ${key.tenantId} and space_id = ${key.spaceId} and holder = ${holder} and leased_until > now()
    returning 1`;
  return rows.length > 0;
}

/** The lowest number that no tenant's shard of the space has; `taken` are those that still have a partition. */
export async function freeShard(sql: Sql, spaceId: number, taken: readonly number[]): Promise<number> {
  const rows = await sql<{ shard: number }[]>`
    select shard from vector_tiers where space_id = ${spaceId} and shard is not null`;
  const used = new Set([...taken, ...rows.map(({ shard }) => shard)]);
  let shard = 1;
  while (used.has(shard)) shard += 1;
  return shard;
}

/** Forgets a tenant that is searched exactly and has no codes; false where the lease is somebody else's by now. */
export async function forgetTier(sql: Sql, key: TierKey, holder: string): Promise<boolean> {
  const rows = await sql`
    delete from vector_tiers where tenant_id = ${key.tenantId} and space_id = ${key.spaceId} and holder = ${holder}
      and tier = 'exact' and shard is null returning 1`;
  return rows.length > 0;
}

/** Shards that some tenant has; the others may be dropped. */
export async function usedShards(sql: Sql): Promise<{ spaceId: number; shard: number }[]> {
  return sql<{ spaceId: number; shard: number }[]>`
    select space_id as "spaceId", shard from vector_tiers where shard is not null`;
}
