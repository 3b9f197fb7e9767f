/**
 * Shards of codes that belong to one tenant each, with a graph index. The index is built beside readers and writers, so
 * neither a deletion nor a publication waits for it; ingestion never writes codes at all.
 */
import type { Database } from './database.ts';
import { AUTOVACUUM } from './spaces.ts';

export interface Shard {
  spaceId: number;
  /** From 1; 0 is the shard that all tenants share. */
  shard: number;
}

const tableOf = ({ spaceId, shard }: Shard) => `chunk_codes_s${spaceId}_${shard}`;
const indexOf = (shard: Shard) => `${tableOf(shard)}_graph`;

/** Readers and writers queue behind whoever waits for a stronger lock than theirs: so nobody waits long, and tries again. */
const LOCK_TIMEOUT = `set local lock_timeout = '2s'`;

/** Makes the shard where it is not there. Attached rather than made in place: that waits for no reader. */
export async function createShard(database: Database, shard: Shard & { tenantId: string }): Promise<void> {
  const table = tableOf(shard);
  await database.owner(async (sql) => {
    await sql.unsafe(LOCK_TIMEOUT);
    const [there] = await sql`select 1 from pg_class where oid = to_regclass(${table})`;
    if (there) return;
    await sql.unsafe(`
      create table ${table} (like chunk_codes including defaults including storage,
        constraint ${table}_tenant check (tenant_id = '${shard.tenantId}'),
        constraint ${table}_place check (space_id = ${shard.spaceId} and shard = ${shard.shard}));
      alter table ${table} alter column code set storage plain;
      alter table ${table} set (${AUTOVACUUM});
      alter table chunk_codes_s${shard.spaceId} attach partition ${table} for values in (${shard.shard})`);
  });
}

/** Removes the shard, which nobody's codes are in any more. */
export async function dropShard(database: Database, shard: Shard): Promise<void> {
  await database.owner(async (sql) => {
    await sql.unsafe(LOCK_TIMEOUT);
    await sql.unsafe(`drop table if exists ${tableOf(shard)}`);
  });
}

/** Shards of tenants that there are partitions for. */
export async function listShards(database: Database): Promise<Shard[]> {
  return database.owner(
    (sql) => sql<Shard[]>`
      select (regexp_match(c.relname, '^chunk_codes_s(\\d+)_(\\d+)$'))[1]::int as "spaceId",
        (regexp_match(c.relname, '^chunk_codes_s(\\d+)_(\\d+)$'))[2]::int as shard
      from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relispartition
        and c.relname ~ '^chunk_codes_s\\d+_[1-9]\\d*$'`,
  );
}

export async function hasGraph(database: Database, shard: Shard): Promise<boolean> {
  const rows = await database.owner(
    (sql) => sql`select 1 from pg_index where indexrelid = to_regclass(${indexOf(shard)}) and indisvalid`,
  );
  return rows.length > 0;
}

/** Counts anew what a space's vectors and codes look like, for the planner. */
export async function analyseSpace(database: Database, spaceId: number): Promise<void> {
  await database.owner((sql) =>
    sql.unsafe(`analyze chunk_codes_s${spaceId}_0, chunk_vectors_s${spaceId}_0, document_spaces`),
  );
}

/** Of an element of the graph while it is built: its code, its neighbours in about one and a half layers, its own state. */
const BYTES_AN_ELEMENT = 1_000;
/** Kilobytes; a graph that does not fit is finished on disk, several times slower. */
const MOST_MEMORY_KB = 2_000_000;

/**
 * Builds the graph (HNSW over Hamming distance) for the codes that are there now; later ones are added as they come. What
 * an interrupted build left is removed first. Throws where `Database.maintain` is not to be had.
 */
export async function buildGraph(
  database: Database,
  shard: Shard,
  size: { dimensions: number; codes: number },
): Promise<void> {
  if (!database.maintain) throw new Error('no index can be built beside writers here');
  const bytes = size.codes * (BYTES_AN_ELEMENT + size.dimensions / 8);
  const memory = Math.min(MOST_MEMORY_KB, Math.max(65_536, Math.ceil((bytes * 1.2) / 1_024)));
  await database.maintain([
    `set maintenance_work_mem = '${memory}kB'`,
    `drop index if exists ${indexOf(shard)}`,
    `create index concurrently ${indexOf(shard)} on ${tableOf(shard)}
       using hnsw ((code::bit(${size.dimensions})) bit_hamming_ops) with (m = 16, ef_construction = 100)`,
    `analyze ${tableOf(shard)}`,
  ]);
}
