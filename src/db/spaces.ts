/** Embedding spaces need partitions, and partitions need the owner: the one thing it is used for at run time. */
import type { Database, Sql } from './database.ts';

export interface SpaceIdentity {
  provider: string;
  model: string;
  dimensions: number;
  /** Parser and chunker version. */
  pipeline: string;
}

export interface Space extends SpaceIdentity {
  id: number;
  state: 'building' | 'active' | 'read_only' | 'retired';
}

/** Rows up to this many dimensions stay in the page (2 bytes each, PLAIN); larger ones go to TOAST uncompressed. */
const PLAIN_DIMENSIONS = 2_000;

async function createPartitions(sql: Sql, space: Space): Promise<void> {
  const table = `chunk_vectors_s${space.id}`;
  const storage = space.dimensions <= PLAIN_DIMENSIONS ? 'plain' : 'external';
  await sql.unsafe(
    `create table ${table} partition of chunk_vectors for values in (${space.id}) partition by list (shard)`,
  );
  await sql.unsafe(`create table ${table}_0 partition of ${table} for values in (0)`);
  await sql.unsafe(`alter table ${table}_0 alter column embedding set storage ${storage}`);
  await sql.unsafe(`alter table ${table}_0 add check (vector_dims(embedding::vector) = ${space.dimensions}) not valid`);
}

/**
 * The space of this identity, made with its partitions where it does not exist. The first space of an installation is
 * active at once; a later one starts as `building`.
 */
export async function ensureSpace(database: Database, identity: SpaceIdentity): Promise<Space> {
  return database.owner(async (sql) => {
    // Two processes may start at once; the second finds what the first made.
    await sql`select pg_advisory_xact_lock(hashtext('dreamhub.embedding_spaces'))`;
    const { provider, model, dimensions, pipeline } = identity;
    const find = () => sql<Space[]>`
      select id, provider, model, dimensions, pipeline, state from embedding_spaces
      where provider = ${provider} and model = ${model} and dimensions = ${dimensions} and pipeline = ${pipeline}`;
    const [existing] = await find();
    if (existing) return existing;
    await sql`
      insert into embedding_spaces (provider, model, dimensions, pipeline, state)
      select ${provider}, ${model}, ${dimensions}, ${pipeline},
        case when exists (select from embedding_spaces where state = 'active') then 'building' else 'active' end`;
    const [made] = await find();
    if (!made) throw new Error('the embedding space that was just made is not there');
    await createPartitions(sql, made);
    return made;
  });
}
