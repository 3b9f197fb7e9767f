/**
 * Text search in the ambient scope. The tenant's postings are read, every chunk that holds a term is scored in memory, and
 * of the best those are kept that may be found now; they are looked at once more by all of their terms.
 *
 * Segments' members and chunks' terms never change under their ids, so they are kept between searches. What the scope may
 * see of them is read from the database each time.
 */
import type { SearchFilter } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';
import { AppError } from '../kernel/errors.ts';
import { createLru } from '../kernel/lru.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { queryLexemes } from '../kernel/text/query.ts';
import { type LexicalIndex, liveChunks, readForward, readIndex, readMembers } from '../repositories/lexical.ts';
import { type ContentKind, contentKind } from '../retrieval/content-kind.ts';
import { type ForwardIndex, parseTsvector, partOf } from '../retrieval/forward-index.ts';
import type { ScoredHit } from '../retrieval/fusion.ts';
import {
  type Candidate,
  type CorpusStatistics,
  inverseDocumentFrequency,
  type LexicalPart,
  type Ranking,
  type ReadPart,
  rankChunks,
  termSaturation,
  type WeightedTerm,
} from '../retrieval/lexical.ts';
import { LOOKED_AT, weighEvidence } from '../retrieval/lexical-evidence.ts';

export interface LexicalQuery {
  query: string;
  /** As many hits as there are, up to this. */
  limit: number;
  filter: SearchFilter;
  /** Hits of one document that count towards the limit. */
  maxPerDocument: number;
  /** Whose texts (`Spaces.active`). */
  cut: number;
}

export interface LexicalAnswer {
  /** Chunks that hold a word of the query, best first, scores in [0, 1]. */
  hits: ScoredHit[];
  /** How much of the query the best of them has: its BM25 by that of a text with each term once. About 1 for a good hit. */
  met: number;
}

export interface LexicalSearch {
  /** Runs in the given transaction. */
  find(sql: Sql, query: LexicalQuery): Promise<LexicalAnswer>;
  /** Somebody was erased: nothing of anybody is kept any more. */
  forget(): void;
}

/** Postings of one search: some 20 ms of reading and scoring. Terms beyond are so common that they tell little. */
const POSTINGS_BUDGET = 250_000;
const TERMS_AT_LEAST = 3;
const MEMBER_BYTES = 24;
/** How many candidates are asked about at once, and by how much more each further time. */
const FIRST_ASKED = 200;
const MORE = 8;
const MOST_ASKED = 10_000;
/** So many times more than are wanted are weighed: a turn of a talk is often found by those around it. */
const WEIGHED = 2;
/** Kept between searches, in bytes and in terms. */
const KEPT_SEGMENTS = 64 * 1024 * 1024;
const KEPT_TERMS = 1_000_000;
/** A segment that is read was merged into another at that moment: then everything is read again. */
const MOST_TRIES = 5;

const NOTHING: LexicalAnswer = { hits: [], met: 0 };

interface Segment extends LexicalPart {
  /** 16 bytes a chunk. */
  readonly ids: Uint8Array;
}

const NO_TERMS: ForwardIndex = new Map();

interface KnownChunk {
  readonly index: ForwardIndex;
  readonly kind: ContentKind;
}

function decodeMembers(members: Uint8Array): Segment {
  const size = members.length / MEMBER_BYTES;
  const view = new DataView(members.buffer, members.byteOffset, members.byteLength);
  const [ids, documents, lengths] = [new Uint8Array(size * 16), new Int32Array(size), new Float32Array(size)];
  for (let number = 0; number < size; number += 1) {
    const at = number * MEMBER_BYTES;
    ids.set(members.subarray(at, at + 16), number * 16);
    documents[number] = view.getInt32(at + 16);
    lengths[number] = view.getFloat32(at + 20);
  }
  return { size, ids, documents, lengths };
}

/** Big-endian as they are stored. */
function decodePostings(bytes: Uint8Array): Int32Array {
  const copy = Buffer.from(new ArrayBuffer(bytes.byteLength));
  copy.set(bytes);
  copy.swap32();
  return new Int32Array(copy.buffer);
}

function idAt({ ids }: Segment, number: number): string {
  const hex = Buffer.from(ids.buffer, ids.byteOffset + number * 16, 16).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

interface Corpus {
  readonly parts: ReadPart[];
  readonly statistics: CorpusStatistics;
  /** Terms whose postings were not read. */
  readonly unread: ReadonlySet<string>;
  idOf(candidate: Pick<Candidate, 'part' | 'number'>): string;
}

export function createLexicalSearch({ metrics }: { metrics: Metrics }): LexicalSearch {
  const segments = createLru<string, Segment>(KEPT_SEGMENTS);
  const chunks = createLru<string, KnownChunk>(KEPT_TERMS);

  const count = (cache: string, hits: number, misses: number) => {
    metrics.cacheRequests.inc({ cache, result: 'hit' }, hits);
    metrics.cacheRequests.inc({ cache, result: 'miss' }, misses);
  };

  /** What these chunks say, as far as they are still there. */
  async function known(sql: Sql, ids: readonly string[]): Promise<Map<string, KnownChunk>> {
    const found = new Map<string, KnownChunk>();
    const missing: string[] = [];
    for (const id of ids) {
      const chunk = chunks.get(id);
      if (chunk) found.set(id, chunk);
      else missing.push(id);
    }
    count('chunks', found.size, missing.length);
    for (const { id, tsv, text } of missing.length > 0 ? await readForward(sql, missing) : []) {
      const chunk = { index: parseTsvector(tsv), kind: contentKind(text) };
      chunks.set(id, chunk, chunk.index.size);
      found.set(id, chunk);
    }
    return found;
  }

  /** The members of the segments; `undefined` where one is not there any more. */
  async function membersOf(sql: Sql, { segments: rows }: LexicalIndex): Promise<Map<string, Segment> | undefined> {
    const found = new Map<string, Segment>();
    for (const { id } of rows) {
      const segment = segments.get(id);
      if (segment) found.set(id, segment);
    }
    const missing = rows.filter(({ id }) => !found.has(id)).map(({ id }) => id);
    count('segments', found.size, missing.length);
    for (const { id, members } of missing.length > 0 ? await readMembers(sql, missing) : []) {
      const segment = decodeMembers(members);
      segments.set(id, segment, members.byteLength);
      found.set(id, segment);
    }
    return found.size === rows.length ? found : undefined;
  }

  async function read(sql: Sql, terms: readonly string[], cut: number): Promise<Corpus> {
    for (let attempt = 0; attempt < MOST_TRIES; attempt += 1) {
      const index = await readIndex(sql, { terms, budget: POSTINGS_BUDGET, atLeast: TERMS_AT_LEAST, cut });
      const members = await membersOf(sql, index);
      if (members)
        return corpusOf(
          terms,
          index,
          members,
          await known(
            sql,
            index.loose.filter(({ holds }) => holds).map(({ id }) => id),
          ),
        );
    }
    throw new AppError('unavailable', 'The text index is being rebuilt.');
  }

  async function find(sql: Sql, { query, limit, filter, maxPerDocument, cut }: LexicalQuery): Promise<LexicalAnswer> {
    const terms = queryLexemes(query);
    if (terms.length === 0) return NOTHING;
    const corpus = await read(
      sql,
      terms.map(({ term }) => term),
      cut,
    );
    const ranking = rankChunks(terms, corpus.parts, corpus.statistics);
    const candidates = await findable(sql, corpus, ranking, { limit, filter, maxPerDocument, cut });
    if (candidates.length === 0) return NOTHING;
    const looked = await known(
      sql,
      candidates.slice(0, LOOKED_AT).map(({ id }) => id),
    );
    const documentScores = ranking.documentScores(candidates);
    const idf = (term: string) =>
      inverseDocumentFrequency(corpus.statistics.df.get(term) ?? 0, corpus.statistics.chunks);
    const usual = usualKind([...looked.values()].map(({ kind }) => kind));
    const found = candidates.map(({ id, part, number, score }, at) => ({
      id,
      score: score + unreadScore(terms, corpus, { part, number }, looked.get(id)?.index, idf),
      documentScore: documentScores[at] ?? 0,
      neighbourScore: neighbourScore(corpus, ranking, part, number),
      kind: looked.get(id)?.kind ?? usual,
      index: looked.get(id)?.index ?? null,
    }));
    const wanted = terms.reduce((sum, { term, weight }) => sum + weight * idf(term), 0);
    const met = Math.max(...found.map(({ score }) => score)) / Math.max(wanted, Number.MIN_VALUE);
    return { hits: weighEvidence(terms, found, idf).slice(0, limit), met };
  }

  return {
    find,
    forget() {
      segments.clear();
      chunks.clear();
    },
  };
}

function corpusOf(
  terms: readonly string[],
  { segments: rows, loose, postings }: LexicalIndex,
  members: ReadonlyMap<string, Segment>,
  texts: ReadonlyMap<string, KnownChunk>,
): Corpus {
  const df = new Map<string, number>();
  const unread = new Set<string>();
  const bySegment = new Map<string, Map<string, Int32Array>>(rows.map(({ id }) => [id, new Map()]));
  for (const row of postings) {
    df.set(row.term, (df.get(row.term) ?? 0) + row.df);
    if (row.postings) bySegment.get(row.segmentId)?.set(row.term, decodePostings(row.postings));
    else unread.add(row.term);
  }
  const there = loose.flatMap((chunk) => {
    // Of what holds no term, only the length counts.
    const index = chunk.holds ? texts.get(chunk.id)?.index : NO_TERMS;
    return index ? [{ ...chunk, index }] : [];
  });
  const tail = partOf(there, terms);
  for (const [term, found] of tail.postings) {
    if (found.length > 0) df.set(term, (df.get(term) ?? 0) + found.length);
  }
  const sum = (of: 'chunks' | 'documents' | 'length') => rows.reduce((total, row) => total + row[of], 0);
  const known = rows.flatMap(({ id }) => members.get(id) ?? []);
  return {
    parts: [
      tail,
      ...rows.map(({ id }, at) => ({ part: known[at] as Segment, postings: bySegment.get(id) ?? new Map() })),
    ],
    statistics: {
      chunks: sum('chunks') + there.length,
      documents: sum('documents') + new Set(there.map(({ documentId }) => documentId)).size,
      length: sum('length') + there.reduce((total, { length }) => total + length, 0),
      df,
    },
    unread,
    idOf: ({ part, number }) => (part === 0 ? (there[number]?.id ?? '') : idAt(known[part - 1] as Segment, number)),
  };
}

/** What most of them are; what was not looked at is taken for that. */
function usualKind(kinds: readonly ContentKind[]): ContentKind {
  const counts = Map.groupBy(kinds, (kind) => kind);
  return [...counts].sort(([, a], [, b]) => b.length - a.length)[0]?.[0] ?? 'prose';
}

/** The better of the scores of the chunks before and behind in the same document. */
function neighbourScore({ parts }: Corpus, ranking: Ranking, part: number, number: number): number {
  const documents = parts[part]?.part.documents;
  const of = (other: number) =>
    documents && documents[other] === documents[number] ? ranking.scoreOf(part, other) : 0;
  return Math.max(of(number - 1), of(number + 1));
}

/** What the terms add whose postings were not read, for a chunk whose terms are known. */
function unreadScore(
  terms: readonly WeightedTerm[],
  { unread, parts, statistics }: Corpus,
  { part, number }: Pick<Candidate, 'part' | 'number'>,
  index: ForwardIndex | undefined,
  idf: (term: string) => number,
): number {
  if (unread.size === 0 || !index) return 0;
  const average = statistics.chunks > 0 ? statistics.length / statistics.chunks : 0;
  const length = parts[part]?.part.lengths[number] ?? 0;
  let sum = 0;
  for (const { term, weight } of terms) {
    const tf = unread.has(term) ? (index.get(term)?.length ?? 0) : 0;
    if (tf > 0 && part > 0) sum += weight * idf(term) * termSaturation(tf, length, average);
  }
  return sum;
}

interface Findable extends Candidate {
  readonly id: string;
}

/**
 * The best candidates that may be found now, under the filter, at most `WEIGHED` times the limit: ever more are asked
 * about until there are enough.
 */
async function findable(
  sql: Sql,
  corpus: Corpus,
  ranking: Ranking,
  { limit, filter, maxPerDocument, cut }: Omit<LexicalQuery, 'query'>,
): Promise<Findable[]> {
  const kept: Findable[] = [];
  const uses = new Map<string, number>();
  for (let [from, size] = [0, Math.max(FIRST_ASKED, WEIGHED * limit)]; kept.length < limit && from < ranking.found; ) {
    const asked = ranking.best(from + size).slice(from);
    if (asked.length === 0) break;
    const named = asked.map((candidate) => ({ ...candidate, id: corpus.idOf(candidate) }));
    const live = new Map(
      (
        await liveChunks(
          sql,
          named.map(({ id }) => id),
          { filter, cut },
        )
      ).map(({ id, documentId }) => [id, documentId]),
    );
    for (const candidate of named) {
      const document = live.get(candidate.id);
      if (document === undefined || kept.length >= WEIGHED * limit) continue;
      const use = (uses.get(document) ?? 0) + 1;
      uses.set(document, use);
      if (use > maxPerDocument) continue;
      kept.push(candidate);
    }
    from += asked.length;
    size = Math.min(MOST_ASKED, size * MORE);
  }
  return kept;
}
