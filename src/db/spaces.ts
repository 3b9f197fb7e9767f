/** Embedding spaces need partitions, and partitions need the owner: the one thing it is used for at run time. */
import type { Database, Sql } from './database.ts';

export interface SpaceIdentity {
  provider: string;
  model: string;
  dimensions: number;
  /** Extractors and chunker (`pipelineVersion`). */
  pipeline: string;
}

export interface Space extends SpaceIdentity {
  id: number;
  /** Spaces of one cut show the same chunks (`sql/0150_pipeline_versions.sql`). */
  cut: number;
  state: 'building' | 'active' | 'standby' | 'read_only' | 'retired';
}

/** Rows up to this many dimensions stay in the page (2 bytes each, PLAIN); larger ones go to TOAST uncompressed. */
const PLAIN_DIMENSIONS = 2_000;

/**
 * Autovacuum's defaults wait until a fifth of a table is dead and a tenth is new. Here that fifth would be read by every
 * scan of a tenant, dead elements of a graph cost a search each step over them, and a tenant that has just loaded a tenth
 * of everybody's rows would be planned for as if it had none. Each run costs what changed, so often and little it is.
 */
export const AUTOVACUUM = `autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05,
  autovacuum_analyze_scale_factor = 0.02`;

async function createPartitions(sql: Sql, { id, dimensions }: Space): Promise<void> {
  const storage = dimensions <= PLAIN_DIMENSIONS ? 'plain' : 'external';
  await sql.unsafe(`
    create table chunk_vectors_s${id} partition of chunk_vectors for values in (${id}) partition by list (shard);
    create table chunk_vectors_s${id}_0 partition of chunk_vectors_s${id} for values in (0);
    alter table chunk_vectors_s${id}_0 alter column embedding set storage ${storage};
    alter table chunk_vectors_s${id}_0 add check (vector_dims(embedding::vector) = ${dimensions}) not valid;
    alter table chunk_vectors_s${id}_0 set (${AUTOVACUUM});
    create table chunk_codes_s${id} partition of chunk_codes for values in (${id}) partition by list (shard);
    create table chunk_codes_s${id}_0 partition of chunk_codes_s${id} for values in (0);
    alter table chunk_codes_s${id}_0 alter column code set storage plain;
    alter table chunk_codes_s${id}_0 add check (length(code) = ${dimensions}) not valid;
    alter table chunk_codes_s${id}_0 set (${AUTOVACUUM})`);
}

/**
 * The space of this identity, made with its partitions where it does not exist. The first space of an installation is
 * active at once; a later one starts as `building`. `newCut`: it shows chunks of its own pipeline, as other spaces of that
 * pipeline do, and not those of the active space.
 */
export async function ensureSpace(
  database: Database,
  identity: SpaceIdentity,
  { newCut = false }: { newCut?: boolean } = {},
): Promise<Space> {
  return database.owner(async (sql) => {
    // Two processes may start at once; the second finds what the first made.
    await sql`select pg_advisory_xact_lock(hashtext('dreamhub.embedding_spaces'))`;
    const { provider, model, dimensions, pipeline } = identity;
    const find = () => sql<Space[]>`
      select id, provider, model, dimensions, pipeline, state, cut from embedding_spaces
      where provider = ${provider} and model = ${model} and dimensions = ${dimensions} and pipeline = ${pipeline}
        and state <> 'retired'`;
    const [existing] = await find();
    if (existing) return existing;
    await sql`
      insert into embedding_spaces (provider, model, dimensions, pipeline, state, activated_at, cut)
      select ${provider}, ${model}, ${dimensions}, ${pipeline}, case when active is null then 'active' else 'building' end,
        case when active is null then now() end,
        case when ${newCut} then coalesce(same, latest + 1, 0) else coalesce(active, latest + 1, 0) end
      from (
        select max(cut) filter (where state = 'active') as active, max(cut) as latest,
          max(cut) filter (where state <> 'retired' and pipeline = ${pipeline}) as same
        from embedding_spaces
      ) others`;
    const [made] = await find();
    if (!made) throw new Error('the embedding space that was just made is not there');
    await createPartitions(sql, made);
    return made;
  });
}

/**
 * Drops the partitions of a retired space. Everybody who asks anything of vectors waits while this waits for a lock, so it
 * gives up soon: false, and the caller tries again later. True also where there are none any more.
 */
export async function dropSpace(database: Database, id: number): Promise<boolean> {
  try {
    await database.owner(async (sql) => {
      const [row] = await sql<{ there: boolean }[]>`
        select to_regclass(${`chunk_vectors_s${id}`}) is not null as there`;
      if (!row?.there) return;
      await sql.unsafe(`set local lock_timeout = '2s'`);
      await sql.unsafe(`drop table if exists chunk_codes_s${id}; drop table if exists chunk_vectors_s${id}`);
    });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === '55P03') return false;
    throw error;
  }
}
