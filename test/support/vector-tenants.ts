/**
 * Tenants with synthetic vectors, loaded past the pipeline: nobody waits for 300,000 embeddings. All tenants write about
 * the same topics, so a neighbour of a query is as likely a foreign tenant's row as an own one.
 */
import postgres from 'postgres';
import { encodeHalfvec } from '../../src/kernel/halfvec.ts';
import { systemIds } from '../../src/kernel/ids.ts';

export interface VectorTenant {
  readonly tenantId: string;
  readonly userId: string;
  readonly chunks: number;
}

export interface Topics {
  readonly dimensions: number;
  /** A unit vector near one of the topics. */
  vector(): Float32Array;
}

const TOPICS = 200;
/** Length of what a vector has of its own, beside its topic's 1. */
const OWN = 1.1;
const CHUNKS_A_DOCUMENT = 100;
const POOL = 1_000_000;

/** mulberry32: the same seed gives the same vectors. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function gaussians(count: number, next: () => number): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

function normalise(vector: Float32Array): Float32Array {
  let sum = 0;
  for (const value of vector) sum += value * value;
  const scale = 1 / Math.sqrt(sum);
  return vector.map((value) => value * scale);
}

/** With fewer than ten chunks of a topic in a tenant, what is nearest after them is chance. */
export function createTopics(dimensions: number, seed: number, count = TOPICS): Topics {
  const next = random(seed);
  const topics = Array.from({ length: count }, () => normalise(gaussians(dimensions, next)));
  // Slices of one pool: drawing 300,000 × 1,536 numbers anew takes longer than loading them.
  const pool = gaussians(POOL, next);
  const scale = OWN / Math.sqrt(dimensions);
  return {
    dimensions,
    vector() {
      const topic = topics[Math.floor(next() * count)] ?? new Float32Array(dimensions);
      const offset = Math.floor(next() * (pool.length - dimensions));
      return normalise(topic.map((value, i) => value + scale * (pool[offset + i] ?? 0)));
    },
  };
}

function uuidBytes(id: string): Buffer {
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

const COPY_HEAD = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const COPY_END = Buffer.from([0xff, 0xff]);

function copyRow(fields: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [Buffer.alloc(2)];
  parts[0]?.writeInt16BE(fields.length, 0);
  for (const field of fields) {
    const length = Buffer.alloc(4);
    length.writeInt32BE(field.length, 0);
    parts.push(length, field);
  }
  return Buffer.concat(parts);
}

function int(value: number, bytes: 2 | 4): Buffer {
  const buffer = Buffer.alloc(bytes);
  buffer.writeIntBE(value, 0, bytes);
  return buffer;
}

export interface LoadOptions {
  /** Signs in as a superuser. */
  adminUrl: string;
  spaceId: number;
  topics: Topics;
  progress?(line: string): void;
}

interface DocumentRow {
  tenant: VectorTenant;
  id: string;
  chunks: number;
}

/**
 * Makes tenants of these sizes, with published documents of a hundred chunks. The documents of all are written in turns, as
 * uploads arrive: a tenant's rows lie apart unless something brings them together.
 */
export async function loadTenants(sizes: readonly number[], options: LoadOptions): Promise<VectorTenant[]> {
  const { spaceId, topics } = options;
  const tenants = sizes.map((chunks) => ({ tenantId: systemIds.uuid(), userId: systemIds.uuid(), chunks }));
  const turns: DocumentRow[][] = tenants.map((tenant) =>
    Array.from({ length: Math.ceil(tenant.chunks / CHUNKS_A_DOCUMENT) }, (_, i) => ({
      tenant,
      id: systemIds.uuid(),
      chunks: Math.min(CHUNKS_A_DOCUMENT, tenant.chunks - i * CHUNKS_A_DOCUMENT),
    })),
  );
  const longest = Math.max(...turns.map((rows) => rows.length));
  const documents = Array.from({ length: longest }, (_, i) => turns.flatMap((rows) => rows[i] ?? [])).flat();
  const sql = postgres(options.adminUrl, { max: 1, onnotice: () => undefined });
  try {
    await sql`insert into tenants (id, name) select id, id::text from unnest(${tenants.map((t) => t.tenantId)}::uuid[]) id`;
    // No foreign key is looked at row by row, and no trigger runs: the rows are whole by construction.
    await sql`set session_replication_role = replica`;
    for (let from = 0; from < documents.length; from += 5_000) {
      const some = documents.slice(from, from + 5_000);
      await sql`
        insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type, status, chunks)
        select tenant_id, id, owner_id, 'tenant', 'notes', 'notes.txt', 'text/plain', 1000, sha256(id::text::bytea), 'upload', 'ready', chunks
        from unnest(${some.map((d) => d.tenant.tenantId)}::uuid[], ${some.map((d) => d.id)}::uuid[],
          ${some.map((d) => d.tenant.userId)}::uuid[], ${some.map((d) => d.chunks)}::int[]) as d(tenant_id, id, owner_id, chunks)`;
    }
    const total = documents.reduce((sum, { chunks }) => sum + chunks, 0);
    options.progress?.(`loading ${total.toLocaleString('en')} vectors of ${topics.dimensions} dimensions`);
    const stream =
      await sql`copy chunk_vectors (tenant_id, chunk_id, space_id, shard, document_id, version, content_hash, embedding)
      from stdin with (format binary)`.writable();
    const write = (bytes: Buffer) =>
      new Promise<void>((resolve, reject) => stream.write(bytes, (error) => (error ? reject(error) : resolve())));
    await write(COPY_HEAD);
    const fixed = { space: int(spaceId, 4), shard: int(0, 2), version: int(1, 4) };
    for (const { tenant, id, chunks } of documents) {
      const tenantId = uuidBytes(tenant.tenantId);
      const rows = Array.from({ length: chunks }, () => {
        const chunkId = uuidBytes(systemIds.uuid());
        const hash = Buffer.concat([chunkId, chunkId]);
        const embedding = Buffer.from(encodeHalfvec(topics.vector()));
        return copyRow([tenantId, chunkId, fixed.space, fixed.shard, uuidBytes(id), fixed.version, hash, embedding]);
      });
      await write(Buffer.concat(rows));
    }
    await new Promise<void>((resolve, reject) => {
      stream.once('finish', resolve);
      stream.once('error', reject);
      stream.end(COPY_END);
    });
    await sql`
      insert into chunks (tenant_id, id, document_id, version, ordinal, text, start_offset, end_offset, tokens, terms, tsv)
      select tenant_id, chunk_id, document_id, version, row_number() over (partition by document_id order by chunk_id) - 1,
        '', 0, 0, 0, 0, '' from chunk_vectors where tenant_id = any(${tenants.map((t) => t.tenantId)}::uuid[])`;
    await sql`set session_replication_role = origin`;
    // Publishes, so the trigger records what is whole.
    await sql`update documents set live_version = 1 where tenant_id = any(${tenants.map((t) => t.tenantId)}::uuid[])`;
    await sql`analyze chunk_vectors, document_spaces, documents`;
  } finally {
    await sql.end({ timeout: 5 });
  }
  return tenants;
}
