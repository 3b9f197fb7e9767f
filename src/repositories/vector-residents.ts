/**
 * What a process needs to search a tenant's vectors in its own memory (`services/resident-vectors.ts`): the list of the
 * documents that may be found, their vectors or codes, and the last word on what was found there, which is always the
 * database's, under the policies. What travels in numbers is packed: a field of a row costs more than its bytes.
 */
import type { SearchFilter } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { whereDocument } from './document-filter.ts';
import type { Scored, Tier } from './vectors.ts';

export interface ListedDocument {
  id: string;
  version: number;
  chunks: number;
  /** Only its owner sees it: whoever reads this list. */
  isPrivate: boolean;
}

export interface Listing {
  /** Of the corpus, at the moment of the list. */
  generation: number;
  dimensions: number;
  tier: Tier['tier'];
  /** Codes that are looked at again by their vectors. */
  candidates: number;
  documents: ListedDocument[];
}

const DOCUMENT_BYTES = 25;
const UUID_BYTES = 16;
const HALFVEC_HEAD_BYTES = 4;
const BITS_HEAD_BYTES = 4;

export function uuidAt(bytes: Uint8Array, at: number): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + at, UUID_BYTES).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

const generation = (sql: Sql) => sql`
  coalesce((select generation from corpus_generations where tenant_id = current_setting('app.tenant_id')::uuid), 0)`;

/** Every document that the scope may find in the space, or those that its user alone may find, as of one moment. */
export async function listDocuments(sql: Sql, spaceId: number, which: 'all' | 'own' = 'all'): Promise<Listing> {
  const [row] = await sql<(Omit<Listing, 'documents'> & { packed: Uint8Array | null })[]>`
    select ${generation(sql)} as generation, e.dimensions, coalesce(t.tier, 'exact') as tier,
      coalesce(t.candidates, 0) as candidates,
      (select string_agg(uuid_send(s.document_id) || int4send(s.version) || int4send(s.chunks)
          || case when s.private_to is null then '\\x00'::bytea else '\\x01'::bytea end, '')
        from document_spaces s
        where s.tenant_id = current_setting('app.tenant_id')::uuid and s.space_id = ${spaceId}
          ${which === 'own' ? sql`and s.private_to is not null` : sql``}) as packed
    from embedding_spaces e
    left join vector_tiers t on t.tenant_id = current_setting('app.tenant_id')::uuid and t.space_id = e.id
    where e.id = ${spaceId}`;
  if (!row) return { generation: 0, dimensions: 0, tier: 'exact', candidates: 0, documents: [] };
  const { packed, ...rest } = row;
  return { ...rest, documents: packed ? unpackDocuments(packed) : [] };
}

function unpackDocuments(packed: Uint8Array): ListedDocument[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  return Array.from({ length: packed.length / DOCUMENT_BYTES }, (_, i) => {
    const at = i * DOCUMENT_BYTES;
    return {
      id: uuidAt(packed, at),
      version: view.getInt32(at + UUID_BYTES),
      chunks: view.getInt32(at + UUID_BYTES + 4),
      isPrivate: packed[at + UUID_BYTES + 8] === 1,
    };
  });
}

/** The chunks of one document: rows of 16 bytes id and `width` bytes of what was asked for. */
export interface LoadedDocument {
  /** Its place among those asked for. */
  place: number;
  rows: Uint8Array;
  /** Bytes of a row, and where in it the code or the vector begins. */
  stride: number;
  offset: number;
}

type Wanted = readonly Pick<ListedDocument, 'id' | 'version'>[];

const wantedDocuments = (sql: Sql, documents: Wanted) => sql`
  unnest(${documents.map(({ id }) => id)}::uuid[], ${documents.map(({ version }) => version)}::int[])
    with ordinality as d(id, version, place)`;

/** Vectors of documents: big-endian halves. A document that is not there any more is missing, or has fewer rows. */
export async function loadVectors(
  sql: Sql,
  { spaceId, dimensions }: { spaceId: number; dimensions: number },
  documents: Wanted,
): Promise<LoadedDocument[]> {
  const rows = await sql<{ place: number; rows: Uint8Array }[]>`
    select d.place::int as place, string_agg(uuid_send(v.chunk_id) || halfvec_send(v.embedding), '') as rows
    from ${wantedDocuments(sql, documents)}
    join chunk_vectors v on v.tenant_id = current_setting('app.tenant_id')::uuid and v.document_id = d.id
      and v.version = d.version and v.space_id = ${spaceId} and v.shard = 0
    group by d.place`;
  const offset = UUID_BYTES + HALFVEC_HEAD_BYTES;
  return rows.map((row) => ({ ...row, stride: offset + dimensions * 2, offset }));
}

/** Codes of documents, a bit a dimension, the first in the highest bit; made of the vectors where there are none yet. */
export async function loadCodes(
  sql: Sql,
  { spaceId, dimensions }: { spaceId: number; dimensions: number },
  documents: readonly ListedDocument[],
): Promise<LoadedDocument[]> {
  const offset = UUID_BYTES + BITS_HEAD_BYTES;
  const stride = offset + Math.ceil(dimensions / 8);
  const made = await sql<{ place: number; rows: Uint8Array }[]>`
    select d.place::int as place, string_agg(uuid_send(c.chunk_id) || varbit_send(c.code), '') as rows
    from ${wantedDocuments(sql, documents)}
    join chunk_codes c on c.tenant_id = current_setting('app.tenant_id')::uuid and c.document_id = d.id
      and c.version = d.version and c.space_id = ${spaceId}
    group by d.place`;
  const found = new Map(
    made
      .filter(({ place, rows }) => rows.length === (documents[place - 1]?.chunks ?? 0) * stride)
      .map((row) => [row.place, row.rows]),
  );
  const places = documents.map((_, i) => i + 1).filter((place) => !found.has(place));
  if (places.length > 0) {
    const uncoded = places.flatMap((place) => documents[place - 1] ?? []);
    const rest = await sql<{ place: number; rows: Uint8Array }[]>`
      select d.place::int as place,
        string_agg(uuid_send(v.chunk_id) || varbit_send(binary_quantize(v.embedding)::bit varying), '') as rows
      from ${wantedDocuments(sql, uncoded)}
      join chunk_vectors v on v.tenant_id = current_setting('app.tenant_id')::uuid and v.document_id = d.id
        and v.version = d.version and v.space_id = ${spaceId} and v.shard = 0
      group by d.place`;
    for (const { place, rows } of rest) found.set(places[place - 1] ?? 0, rows);
  }
  return [...found].map(([place, rows]) => ({ place, rows, stride, offset }));
}

/** Documents of the scope that a filter leaves. */
export async function matchingDocuments(sql: Sql, filter: SearchFilter): Promise<string[]> {
  const rows = await sql<{ id: string }[]>`
    select d.id from documents d
    where d.tenant_id = current_setting('app.tenant_id')::uuid and ${whereDocument(sql, filter)}`;
  return rows.map(({ id }) => id);
}

type Call = Database['call'];

/** The corpus' generation where all these documents may be found in the space by the scope now, as they are here; else `undefined`. */
export async function confirmDocuments(
  call: Call,
  spaceId: number,
  documents: readonly ListedDocument[],
): Promise<number | undefined> {
  const ids = `{${documents.map(({ id }) => id).join(',')}}`;
  const versions = `{${documents.map(({ version }) => version).join(',')}}`;
  const generation = await call<number | null>('confirm_documents', [spaceId, ids, versions]);
  // Who has no corpus has no number.
  return generation ?? (documents.length === 0 ? 0 : undefined);
}

export interface Reranked {
  /** Of the moment of the answer. */
  generation: number;
  rows: Scored[];
}

/** The best of these chunks by their vectors, without those that the scope may not find now. */
export async function rerankChunks(
  call: Call,
  { spaceId, embedding, limit }: { spaceId: number; embedding: string; limit: number },
  chunkIds: readonly string[],
): Promise<Reranked> {
  const { generation, ids, scores } = await call<{ generation: number | null; ids: string[]; scores: number[] }>(
    'confirm_chunks',
    [spaceId, embedding, limit, `{${chunkIds.join(',')}}`],
  );
  return { generation: generation ?? 0, rows: ids.map((id, i) => ({ id, score: scores[i] ?? 0 })) };
}
