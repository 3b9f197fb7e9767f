/** A tenant's vectors or codes in memory: one row a chunk, documents one behind the other. Never changed once made. */
import type { ListedDocument, LoadedDocument } from '../repositories/vector-residents.ts';
import { uuidAt } from '../repositories/vector-residents.ts';
import { ROW_UNIT } from '../retrieval/scan-kernel.ts';

export interface RowShape {
  kind: 'vectors' | 'codes';
  dimensions: number;
}

interface Place {
  readonly document: ListedDocument;
  readonly from: number;
}

export interface ResidentRows {
  readonly shape: RowShape;
  readonly rows: number;
  /** Rows of `widthOf(shape)` bytes: halves of this machine's byte order, or bits. */
  readonly data: Uint8Array;
  /** 16 bytes a row. */
  readonly ids: Uint8Array;
  /** The same as text, of the rows that were ever found: making it takes longer than looking at the row. */
  readonly names: (string | undefined)[];
  /** Documents in the order of their rows. */
  readonly places: readonly Place[];
  /** Number of the row's document among them. */
  readonly documentOf: Int32Array;
}

const ID_BYTES = 16;
/** What a name takes. */
const NAME_BYTES = 64;
/** Bytes that are copied before others have the event loop: a millisecond or two. */
const COPIED_AT_ONCE = 4 * 1_024 * 1_024;

/** Bytes of a row. */
export function widthOf({ kind, dimensions }: RowShape): number {
  const bytes = kind === 'vectors' ? dimensions * 2 : dimensions / 8;
  return Math.ceil(bytes / ROW_UNIT) * ROW_UNIT;
}

/** What rows take, with their ids, names and the numbers of their documents. */
export const bytesOf = (shape: RowShape, rows: number): number => rows * (widthOf(shape) + ID_BYTES + NAME_BYTES + 4);

export const keyOf = ({ id, version }: Pick<ListedDocument, 'id' | 'version'>): string => `${id}/${version}`;

/** Documents of the list that `rows` does not have. */
export function missingIn(rows: ResidentRows | undefined, documents: readonly ListedDocument[]): ListedDocument[] {
  const known = new Set(rows?.places.map(({ document }) => keyOf(document)));
  return documents.filter((document) => !known.has(keyOf(document)));
}

/**
 * Rows of the listed documents: those that `before` has, and those that were loaded (`loaded[i]` of `asked[i]`).
 * `undefined` where a document is not whole: it was deleted or replaced while it was read.
 */
export async function arrangeRows(
  shape: RowShape,
  documents: readonly ListedDocument[],
  before: ResidentRows | undefined,
  loaded: ReadonlyMap<string, Omit<LoadedDocument, 'place'>>,
): Promise<ResidentRows | undefined> {
  const width = widthOf(shape);
  const rows = documents.reduce((sum, { chunks }) => sum + chunks, 0);
  const [data, ids] = [new Uint8Array(rows * width), new Uint8Array(rows * ID_BYTES)];
  const documentOf = new Int32Array(rows);
  const known = new Map(before?.places.map((place) => [keyOf(place.document), place]));
  const places: Place[] = [];
  let [from, turn] = [0, 0];
  for (const document of documents) {
    const { chunks } = document;
    if ((from - turn) * width > COPIED_AT_ONCE) {
      turn = from;
      await new Promise(setImmediate);
    }
    const place = known.get(keyOf(document));
    const fresh = loaded.get(keyOf(document));
    if (place && before && place.document.chunks === chunks) {
      data.set(before.data.subarray(place.from * width, (place.from + chunks) * width), from * width);
      ids.set(before.ids.subarray(place.from * ID_BYTES, (place.from + chunks) * ID_BYTES), from * ID_BYTES);
    } else if (fresh && fresh.rows.length === chunks * fresh.stride) {
      unpack(shape, fresh, { data: data.subarray(from * width), ids: ids.subarray(from * ID_BYTES) });
    } else {
      return undefined;
    }
    documentOf.fill(places.length, from, from + chunks);
    places.push({ document, from });
    from += chunks;
  }
  return { shape, rows, data, ids, names: [], places, documentOf };
}

function unpack(
  shape: RowShape,
  { rows, stride, offset }: Omit<LoadedDocument, 'place'>,
  { data, ids }: { data: Uint8Array; ids: Uint8Array },
): void {
  const width = widthOf(shape);
  for (let row = 0; row * stride < rows.length; row++) {
    const at = row * stride;
    ids.set(rows.subarray(at, at + ID_BYTES), row * ID_BYTES);
    data.set(rows.subarray(at + offset, at + stride), row * width);
  }
  if (shape.kind === 'vectors') Buffer.from(data.buffer, data.byteOffset, (rows.length / stride) * width).swap16();
}

export function chunkIdAt({ ids, names }: ResidentRows, row: number): string {
  const name = names[row] ?? uuidAt(ids, row * ID_BYTES);
  names[row] = name;
  return name;
}

/** Orders rows of two sets by their chunks' ids, as the database does. */
export function compareIds(a: ResidentRows, rowOfA: number, b: ResidentRows, rowOfB: number): number {
  for (let i = 0; i < ID_BYTES; i++) {
    const difference = (a.ids[rowOfA * ID_BYTES + i] ?? 0) - (b.ids[rowOfB * ID_BYTES + i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
