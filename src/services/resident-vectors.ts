/**
 * Vector search in this process's own memory, for tenants that are asked often: their vectors, or where they are many the
 * codes of them, are scanned here, and the database says what of the best may be shown.
 *
 * What is kept belongs to a number that every change of the tenant's corpus raises in its own transaction (`generation`).
 * Each answer is confirmed by one statement under the policies that tells that number too: documents that are not there any
 * more are not in it, and with another number the answer is thrown away and made again from what is there now. So
 * nothing that was deleted, replaced or belongs to somebody else is shown, and nothing is missing, on any node. Versions
 * of documents never change, so after a change only new ones are read.
 *
 * Kept apart: what all of a tenant may see, once, and what a user alone may see, for each. Both are read in the scope
 * of the asking user. States of a tenant in a space: unknown → (a search found it large enough) kept → dropped
 * by others that are asked more often. Wherever nothing is kept, `undefined` says so and the database searches.
 */
import type { SearchFilter } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLru } from '../kernel/lru.ts';
import type { Metrics } from '../kernel/metrics.ts';
import {
  confirmDocuments,
  type ListedDocument,
  type Listing,
  listDocuments,
  loadCodes,
  loadVectors,
  matchingDocuments,
  rerankChunks,
} from '../repositories/vector-residents.ts';
import { hasFilter, type Scored } from '../repositories/vectors.ts';
import { highestScored, leastDistant } from '../retrieval/nearest-rows.ts';
import { createScanKernel, type ScanKernel } from '../retrieval/scan-kernel.ts';
import {
  arrangeRows,
  bytesOf,
  chunkIdAt,
  compareIds,
  keyOf,
  missingIn,
  type ResidentRows,
  type RowShape,
  widthOf,
} from './resident-rows.ts';
import { toHalfvec } from './vectors.ts';

export interface ResidentQuestion {
  spaceId: number;
  vector: Float32Array;
  limit: number;
  filter: SearchFilter;
}

export interface ResidentVectors {
  /** In the ambient scope: what `nearestChunks` answers, or `undefined` where the database must be asked. */
  nearest(question: ResidentQuestion): Promise<Scored[] | undefined>;
  /** A search in the ambient scope was of so many vectors, or more: the next may be worth answering here. */
  searched(spaceId: number, about: { chunks: number; dimensions: number }): void;
  /** Waits for what is being read. */
  idle(): Promise<void>;
  /** Somebody was erased: nothing of anybody is kept any more. */
  forget(): void;
  /** Bytes that are kept. */
  readonly size: number;
}

export interface ResidentVectorsOptions {
  database: Database;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
  /** Bytes of all tenants together; one has half of it at most. */
  capacity?: number;
  /** Bytes of vectors below which the database is as fast. 0: it never is, and nobody asks it first. */
  least?: number;
}

const CAPACITY = 256 * 1_024 * 1_024;
/** So few vectors the database looks at in less than its transaction takes: a crowd of small tenants is left to it. */
const LEAST = 128 * 1_024;
/** Read anew after so long whatever the number says: a database that was restored may give numbers out again. */
const LISTED_MS = 60_000;
/** Chunks that one statement reads: some megabytes. */
const LOADED_AT_ONCE = 2_000;
/** A search keeps the event loop for a millisecond at most, some 30 ns a code and 0.6 µs a vector. */
const SCANNED_AT_ONCE = { codes: 32_768, vectors: 2_048 } as const;
/** Tenants that are read while nobody waits for it: they need connections that searches need. */
const READ_AT_ONCE = 2;
/** After each change the list of them is read and gone through: some microseconds each. */
const MOST_DOCUMENTS = 50_000;
/** What a document and a part take beside their rows, about. */
const DOCUMENT_BYTES = 200;
const PART_BYTES = 200;
const MOST_TRIES = 3;

/** What all of a tenant see, or what one user alone does. */
interface Part {
  readonly rows: ResidentRows;
  readonly generation: number;
  readonly candidates: number;
  readonly until: number;
}

interface Both {
  readonly shared: Part;
  readonly own: Part;
}

export function createResidentVectors(options: ResidentVectorsOptions): ResidentVectors | undefined {
  const { database, clock, logger, metrics, capacity = CAPACITY, least = database.copies ? LEAST : 0 } = options;
  const scan = createScanKernel();
  if (!scan) return undefined;
  const kernel = scan;
  const parts = createLru<string, Part>(capacity);
  /** Tenants in spaces that the database searches for now, and until when. */
  const left = createLru<string, number>(10_000);
  const reading = new Map<string, Promise<Both | undefined>>();

  function keys(spaceId: number) {
    const { tenantId, userId } = currentScope();
    return { shared: `${tenantId}/${spaceId}`, own: `${tenantId}/${spaceId}/${userId}` };
  }

  function kept(spaceId: number): Both | undefined {
    const key = keys(spaceId);
    const [shared, own] = [parts.get(key.shared), parts.get(key.own)];
    const now = clock.now();
    if (!shared || !own || shared.generation !== own.generation || shared.until <= now || own.until <= now)
      return undefined;
    if (shared.rows.shape.kind !== own.rows.shape.kind) return undefined;
    return { shared, own };
  }

  /**
   * As it is now, or as somebody has read it since `stale`, which is no longer true: who looks for too little finds out. One
   * reads at a time for a tenant and space, so a crowd that asks after a change waits for one list.
   */
  async function read(spaceId: number, stale?: Both): Promise<Both | undefined> {
    const { shared } = keys(spaceId);
    for (;;) {
      const both = kept(spaceId);
      if (both && both.shared.generation > (stale?.shared.generation ?? -1)) return both;
      const other = reading.get(shared);
      if (!other) break;
      await other.catch(() => undefined);
    }
    const mine = refresh(spaceId, stale).finally(() => reading.delete(shared));
    reading.set(shared, mine);
    return mine;
  }

  /** How the tenant is searched; `undefined`: by the database. */
  function shapeFor({ dimensions, tier, documents }: Listing): RowShape | undefined {
    const chunks = documents.reduce((sum, document) => sum + document.chunks, 0);
    const vectors: RowShape = { kind: 'vectors', dimensions };
    const shape: RowShape = tier === 'exact' ? vectors : { kind: 'codes', dimensions };
    // A graph finds among more codes than one would like to scan here.
    if (tier === 'indexed' || dimensions === 0 || documents.length > MOST_DOCUMENTS) return undefined;
    return bytesOf(vectors, chunks) >= least && bytesOf(shape, chunks) <= capacity / 2 ? shape : undefined;
  }

  async function refresh(spaceId: number, stale: Both | undefined): Promise<Both | undefined> {
    return (await refreshOwn(spaceId, stale)) ?? refreshBoth(spaceId);
  }

  /** Where what all may see is as it was when it was read, and this user has not asked yet; else `undefined`. */
  async function refreshOwn(spaceId: number, stale: Both | undefined): Promise<Both | undefined> {
    const key = keys(spaceId);
    const shared = parts.get(key.shared);
    if (!shared || shared === stale?.shared || shared.until <= clock.now()) return undefined;
    const listing = await database.tenant((sql) => listDocuments(sql, spaceId, 'own'));
    if (listing.generation !== shared.generation) return undefined;
    const own = await make({ spaceId, name: key.own, shape: shared.rows.shape, listing }, listing.documents);
    return own && { shared, own };
  }

  async function refreshBoth(spaceId: number): Promise<Both | undefined> {
    const key = keys(spaceId);
    const listing = await database.tenant((sql) => listDocuments(sql, spaceId));
    const shape = shapeFor(listing);
    if (!shape) {
      left.set(key.shared, clock.now() + LISTED_MS);
      return undefined;
    }
    const [all, mine] = [false, true].map((own) => listing.documents.filter(({ isPrivate }) => isPrivate === own));
    const shared = await make({ spaceId, name: key.shared, shape, listing }, all ?? []);
    const own = await make({ spaceId, name: key.own, shape, listing }, mine ?? []);
    return shared && own && { shared, own };
  }

  async function make(
    { spaceId, name, shape, listing }: { spaceId: number; name: string; shape: RowShape; listing: Listing },
    documents: readonly ListedDocument[],
  ): Promise<Part | undefined> {
    const rows = await arrange(spaceId, shape, documents, parts.get(name)?.rows);
    if (!rows) return undefined;
    const { generation, candidates } = listing;
    const part: Part = { rows, generation, candidates, until: clock.now() + LISTED_MS };
    parts.set(name, part, bytesOf(shape, rows.rows) + documents.length * DOCUMENT_BYTES + PART_BYTES);
    return part;
  }

  async function arrange(
    spaceId: number,
    shape: RowShape,
    documents: readonly ListedDocument[],
    kept: ResidentRows | undefined,
  ): Promise<ResidentRows | undefined> {
    const before = kept?.shape.kind === shape.kind && kept.shape.dimensions === shape.dimensions ? kept : undefined;
    const missing = missingIn(before, documents);
    if (before && missing.length === 0 && before.places.length === documents.length) return before;
    const loaded = new Map<string, { rows: Uint8Array; stride: number; offset: number }>();
    const load = shape.kind === 'vectors' ? loadVectors : loadCodes;
    for (const some of batches(missing)) {
      const found = await database.tenant((sql) => load(sql, { spaceId, dimensions: shape.dimensions }, some));
      for (const { place, ...rows } of found) {
        const document = some[place - 1];
        if (document) loaded.set(keyOf(document), rows);
      }
    }
    return arrangeRows(shape, documents, before, loaded);
  }

  /** `undefined`: something changed since. */
  async function answer(both: Both, question: ResidentQuestion): Promise<Scored[] | undefined> {
    const { spaceId, limit, filter } = question;
    let only: ReadonlySet<string> | undefined;
    if (hasFilter(filter)) only = new Set(await database.read((sql) => matchingDocuments(sql, filter)));
    const sides = [both.shared, both.own].map(({ rows }) => ({ rows, ...allowedBy(rows, only) }));
    const possible = sides.reduce((sum, side) => sum + side.possible, 0);
    const { generation } = both.shared;
    const found =
      both.shared.rows.shape.kind === 'vectors'
        ? await byVectors(kernel, sides, question)
        : await byCodes(kernel, sides, question, Math.max(both.shared.candidates, 2 * limit));
    if ('documents' in found || found.chunkIds.length === 0) {
      const { documents, hits } = 'documents' in found ? found : NOTHING;
      const now = await confirmDocuments(database.call, spaceId, documents);
      return now === generation ? hits : undefined;
    }
    const asked = { spaceId, embedding: toHalfvec(question.vector), limit };
    const { generation: now, rows } = await rerankChunks(database.call, asked, found.chunkIds);
    return now === generation && rows.length === Math.min(limit, possible) ? rows : undefined;
  }

  return {
    async nearest(question) {
      const key = keys(question.spaceId).shared;
      const isKept = least === 0 || parts.get(key) !== undefined;
      if (!isKept || (left.get(key) ?? 0) > clock.now()) return undefined;
      let both = kept(question.spaceId);
      metrics.cacheRequests.inc({ cache: 'vectors', result: both ? 'hit' : 'miss' });
      let stale: Both | undefined;
      for (let tries = 0; tries < MOST_TRIES; tries++) {
        both ??= await read(question.spaceId, stale);
        const found = both && (await answer(both, question));
        if (found) return found;
        if ((left.get(key) ?? 0) > clock.now()) break;
        [stale, both] = [both, undefined];
      }
      return undefined;
    },

    searched(spaceId, { chunks, dimensions }) {
      const key = keys(spaceId).shared;
      if (bytesOf({ kind: 'vectors', dimensions }, chunks) < least || parts.get(key)) return;
      if (reading.has(key) || reading.size >= READ_AT_ONCE || (left.get(key) ?? 0) > clock.now()) return;
      // Nobody waits for it: the next search finds it.
      read(spaceId).catch((error: unknown) => logger.warn({ err: error }, `vectors not kept: ${messageOf(error)}`));
    },

    async idle() {
      await Promise.allSettled(reading.values());
    },

    forget() {
      parts.clear();
      left.clear();
      kernel.forget();
    },

    get size() {
      return parts.size;
    },
  };
}

function* batches(documents: readonly ListedDocument[]): Generator<ListedDocument[]> {
  let [some, chunks]: [ListedDocument[], number] = [[], 0];
  for (const document of documents) {
    if (chunks > 0 && chunks + document.chunks > LOADED_AT_ONCE) {
      yield some;
      [some, chunks] = [[], 0];
    }
    some.push(document);
    chunks += document.chunks;
  }
  if (some.length > 0) yield some;
}

interface Side {
  readonly rows: ResidentRows;
  /** Rows that the filter leaves; absent: all. */
  readonly allowed: ((row: number) => boolean) | undefined;
  readonly possible: number;
}

function allowedBy(rows: ResidentRows, only: ReadonlySet<string> | undefined): Omit<Side, 'rows'> {
  if (!only) return { allowed: undefined, possible: rows.rows };
  const isAllowed = rows.places.map(({ document }) => only.has(document.id));
  const possible = rows.places.reduce((sum, { document }, i) => sum + (isAllowed[i] ? document.chunks : 0), 0);
  return { allowed: (row) => isAllowed[rows.documentOf[row] ?? 0] ?? false, possible };
}

/** Calls `each` with stretches of the rows; between them others have the event loop. */
async function inTurns(
  rows: ResidentRows,
  each: (data: Uint8Array, from: number, count: number) => void,
): Promise<void> {
  const width = widthOf(rows.shape);
  const most = SCANNED_AT_ONCE[rows.shape.kind];
  for (let from = 0; from < rows.rows; from += most) {
    if (from > 0) await new Promise(setImmediate);
    const count = Math.min(most, rows.rows - from);
    each(rows.data.subarray(from * width, (from + count) * width), from, count);
  }
}

interface ByVectors {
  hits: Scored[];
  /** Those that they are of. */
  documents: ListedDocument[];
}

const NOTHING: ByVectors = { hits: [], documents: [] };

async function byVectors(kernel: ScanKernel, sides: readonly Side[], question: ResidentQuestion): Promise<ByVectors> {
  const { vector, limit } = question;
  const best: { rows: ResidentRows; row: number; score: number }[] = [];
  for (const { rows, allowed } of sides) {
    if (rows.rows === 0) continue;
    const scores = new Float32Array(rows.rows);
    const query = kernel.halves(vector);
    if (!kernel.keptProducts(rows.data, query, scores))
      await inTurns(rows, (data, from, count) => kernel.products(data, query, scores.subarray(from, from + count)));
    const order = (a: number, b: number) => compareIds(rows, a, rows, b);
    for (const row of highestScored(scores, limit, order, allowed)) best.push({ rows, row, score: scores[row] ?? 0 });
  }
  best.sort((a, b) => b.score - a.score || compareIds(a.rows, a.row, b.rows, b.row));
  const found = best.slice(0, limit);
  const documents = new Set<ListedDocument>();
  for (const { rows, row } of found) {
    const document = rows.places[rows.documentOf[row] ?? 0]?.document;
    if (document) documents.add(document);
  }
  return {
    hits: found.map(({ rows, row, score }) => ({ id: chunkIdAt(rows, row), score })),
    documents: [...documents],
  };
}

async function byCodes(
  kernel: ScanKernel,
  sides: readonly Side[],
  { vector }: ResidentQuestion,
  candidates: number,
): Promise<{ chunkIds: string[] }> {
  const found: { rows: ResidentRows; row: number; distance: number }[] = [];
  for (const { rows, allowed } of sides) {
    if (rows.rows === 0) continue;
    const query = new Uint8Array(widthOf(rows.shape));
    const halves = kernel.halves(vector);
    for (let i = 0; i < vector.length; i++) {
      if ((halves[i] ?? 0) > 0) query[i >> 3] = (query[i >> 3] ?? 0) | (0x80 >> (i & 7));
    }
    const distances = new Uint16Array(rows.rows);
    await inTurns(rows, (data, from, count) => kernel.hamming(data, query, distances.subarray(from, from + count)));
    for (const row of leastDistant(distances, candidates, query.length * 8, allowed)) {
      found.push({ rows, row, distance: distances[row] ?? 0 });
    }
  }
  if (found.length > candidates) found.sort((a, b) => a.distance - b.distance);
  return { chunkIds: found.slice(0, candidates).map(({ rows, row }) => chunkIdAt(rows, row)) };
}
