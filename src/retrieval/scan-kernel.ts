/**
 * Distances of a question from many codes or vectors, in this process: 128 bits at a time, several times as fast as
 * JavaScript's own loops. What is compared is copied through a small memory that stays in the processor's cache, so rows
 * live in ordinary arrays and are given up like those.
 */

/** `scan-kernel.wat`, compiled. */
const MODULE = Buffer.from(
  [
    'AGFzbQEAAAABFANgBX9/f39/AGADf39/AGACf38AAhABBHNjYW4GbWVtb3J5AgABAwYFAAABAAIHLgUHaGFtbWluZwAACHByb2R1Y3RzAAEF',
    'd2lkZW4AAgRkb3RzAAMGaGFsdmVzAAQKwQoFkgECAX8BewJAA0AgAUUNAf0MAAAAAAAAAAAAAAAAAAAAACEGQQAhBQNAIAYgACAFav0ABAAg',
    'AyAFav0ABAD9Uf1i/X39jgEhBiAFQRBqIQUgBSACSQ0ACyAG/X8hBiAEIAb9GwAgBv0bAWogBv0bAiAG/RsDamo7AQAgACACaiEAIARBAmoh',
    'BCABQQFrIQEMAAsLC+YBAgJ/A3v9DADg/48A4P+PAOD/jwDg/48hCSADIAJBAnRqIQYCQANAIAFFDQH9DAAAAAAAAAAAAAAAAAAAAAAhB/0M',
    'AAAAAAAAAAAAAAAAAAAAACEIIAMhBQNAIAcgBf0ABAAgCSAA/QMDAEEN/asB/U795gH95AEhByAIIAX9AAQQIAkgAP0DAwhBDf2rAf1O/eYB',
    '/eQBIQggAEEQaiEAIAVBIGohBSAFIAZJDQALIAcgCP3kASEHIAQgB/0fACAH/R8BkiAH/R8CIAf9HwOSkjgCACAEQQRqIQQgAUEBayEBDAAL',
    'CwtkAgF/Anv9DADg/48A4P+PAOD/jwDg/48hBEMAAIB3/RMhBSAAIAFBAXRqIQMCQANAIAAgA08NASACIAUgBCAA/QMDAEEN/asB/U795gH9',
    'CwQAIABBCGohACACQRBqIQIMAAsLC9sEBAN/AnsEfwh7IAJBAnQhByADIAdqIQYCQANAIAFFDQEgACEKIAogB2ohCyALIAdqIQwgDCAHaiEN',
    '/QwAAAAAAAAAAAAAAAAAAAAAIQ79DAAAAAAAAAAAAAAAAAAAAAAhEv0MAAAAAAAAAAAAAAAAAAAAACEP/QwAAAAAAAAAAAAAAAAAAAAAIRP9',
    'DAAAAAAAAAAAAAAAAAAAAAAhEP0MAAAAAAAAAAAAAAAAAAAAACEU/QwAAAAAAAAAAAAAAAAAAAAAIRH9DAAAAAAAAAAAAAAAAAAAAAAhFSAD',
    'IQUDQCAF/QAEACEIIAX9AAQQIQkgDiAIIAr9AAQA/eYB/eQBIQ4gEiAJIAr9AAQQ/eYB/eQBIRIgCkEgaiEKIA8gCCAL/QAEAP3mAf3kASEP',
    'IBMgCSAL/QAEEP3mAf3kASETIAtBIGohCyAQIAggDP0ABAD95gH95AEhECAUIAkgDP0ABBD95gH95AEhFCAMQSBqIQwgESAIIA39AAQA/eYB',
    '/eQBIREgFSAJIA39AAQQ/eYB/eQBIRUgDUEgaiENIAVBIGohBSAFIAZJDQALIA4gEv3kASEOIAQgDv0fACAO/R8BkiAO/R8CIA79HwOSkjgC',
    'ACAPIBP95AEhDyAEIA/9HwAgD/0fAZIgD/0fAiAP/R8DkpI4AgQgECAU/eQBIRAgBCAQ/R8AIBD9HwGSIBD9HwIgEP0fA5KSOAIIIBEgFf3k',
    'ASERIAQgEf0fACAR/R8BkiAR/R8CIBH9HwOSkjgCDCAAIAdBAnRqIQAgBEEQaiEEIAFBBGshAQwACwsLgAICAX8CeyAAIAFBAnRqIQICQANA',
    'IAAgAk8NASAA/QAEACEDRAAAAAAAAOA//RREAAAAAABq+ED9FCAD/V/98gH98AH9dUQAAAAAAGr4QP0U/fMB/V5EAAAAAAAA4D/9FEQAAAAA',
    'AGr4QP0UIAMgA/0NCAkKCwwNDg8ICQoLDA0OD/1f/fIB/fAB/XVEAAAAAABq+ED9FP3zAf1e/Q0AAQIDBAUGBxAREhMUFRYXIQMgA0MABABG',
    '/RP95gEhBCAAIANDAABAP/0T/eQBQwAAQD/9E/3lASAEIAQgA/3lAf3lASAD/eABQwAAgDj9E/1D/VL9CwQAIABBEGohAAwACwsL',
  ].join(''),
  'base64',
);

/** Codes and vectors are rows of so many bytes, or a multiple: what is missing is filled with zeros. */
export const ROW_UNIT = 16;

export interface ScanKernel {
  /** Writes to `out` how many bits of each code differ from `query`'s; rows have the query's length. */
  hamming(codes: Uint8Array, query: Uint8Array, out: Uint16Array): void;
  /** Writes to `out` the inner product of each vector with `query`; rows are IEEE 754 halves, as many as the query has. */
  products(vectors: Uint8Array, query: Float32Array, out: Float32Array): void;
  /**
   * The same, to the bit, in a third of the time for few rows that are asked about often: their floats stay here until others
   * have been asked about since. `vectors` never changes. False, and nothing written, where they are too many.
   */
  keptProducts(vectors: Uint8Array, query: Float32Array, out: Float32Array): boolean;
  /** Overwrites all that was looked at. */
  forget(): void;
  /** The query's values as the database reads their text form (`toHalfvec`), padded with zeros to whole rows. */
  halves(query: Float32Array): Float32Array;
}

interface Exports {
  hamming(codes: number, count: number, width: number, query: number, out: number): void;
  products(vectors: number, count: number, dimensions: number, query: number, out: number): void;
  widen(halves: number, count: number, to: number): void;
  dots(vectors: number, count: number, dimensions: number, query: number, out: number): void;
  halves(at: number, count: number): void;
}

const PAGE_BYTES = 65_536;
const ROWS_BYTES = 512 * 1_024;
const QUERY_BYTES = PAGE_BYTES;
const OUT_BYTES = (ROWS_BYTES / ROW_UNIT) * Float32Array.BYTES_PER_ELEMENT;
const QUERY_AT = ROWS_BYTES;
const OUT_AT = QUERY_AT + QUERY_BYTES;
/** Places for the floats of rows that are asked about often: a hundred vectors of 1,536 dimensions take 0.6 MB. */
const PLACES = 16;
const PLACE_BYTES = 1_024 * 1_024;
const PLACES_AT = OUT_AT + OUT_BYTES;
/** Rows of floats that are multiplied together. */
const DOTS = 4;
/** See `products` in `scan-kernel.wat`. */
const QUERY_SCALE = 2 ** 112;

interface Place {
  readonly at: number;
  rows: WeakRef<Uint8Array> | undefined;
}

function instantiate(memory: WebAssembly.Memory): Exports | undefined {
  try {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(MODULE), { scan: { memory } });
    return instance.exports as unknown as Exports;
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return undefined;
    throw error;
  }
}

function assertWidth(width: number): void {
  if (width === 0 || width % ROW_UNIT !== 0 || width > QUERY_BYTES / 2) throw new RangeError(`rows of ${width} bytes`);
}

/** `undefined` on a processor without the instructions that this needs. */
export function createScanKernel(): ScanKernel | undefined {
  const memory = new WebAssembly.Memory({ initial: (PLACES_AT + PLACES * PLACE_BYTES) / PAGE_BYTES });
  const instance = instantiate(memory);
  if (!instance) return undefined;
  const run = instance;
  const bytes = new Uint8Array(memory.buffer);

  /** Calls `each` with slices of the rows that fit into the memory. */
  function inSlices(rows: Uint8Array, width: number, each: (from: number, count: number) => void): void {
    assertWidth(width);
    const most = Math.floor(ROWS_BYTES / width);
    const total = rows.length / width;
    for (let from = 0; from < total; from += most) {
      const count = Math.min(most, total - from);
      bytes.set(rows.subarray(from * width, (from + count) * width));
      each(from, count);
    }
  }

  /** Whose floats each place has, the one that was used last at the end. A place keeps nobody's rows from being given up. */
  const places = Array.from(
    { length: PLACES },
    (_, i): Place => ({ at: PLACES_AT + i * PLACE_BYTES, rows: undefined }),
  );

  function placeOf(rows: Uint8Array): number {
    const known = places.findLastIndex((place) => place.rows?.deref() === rows);
    const [place] = places.splice(Math.max(known, 0), 1) as [Place];
    places.push(place);
    if (known < 0) {
      place.rows = new WeakRef(rows);
      bytes.set(rows);
      run.widen(0, rows.length / 2, place.at);
    }
    return place.at;
  }

  return {
    hamming(codes, query, out) {
      const width = query.length;
      bytes.set(query, QUERY_AT);
      inSlices(codes, width, (from, count) => {
        run.hamming(0, count, width, QUERY_AT, OUT_AT);
        out.set(new Uint16Array(memory.buffer, OUT_AT, count), from);
      });
    },
    products(vectors, query, out) {
      const scaled = new Float32Array(memory.buffer, QUERY_AT, query.length);
      for (let i = 0; i < query.length; i++) scaled[i] = (query[i] ?? 0) * QUERY_SCALE;
      inSlices(vectors, query.length * 2, (from, count) => {
        run.products(0, count, query.length, QUERY_AT, OUT_AT);
        out.set(new Float32Array(memory.buffer, OUT_AT, count), from);
      });
    },
    keptProducts(vectors, query, out) {
      assertWidth(query.length * 2);
      // What the last of them meet behind the rows counts for nothing.
      const padded = Math.ceil(out.length / DOTS) * DOTS;
      if (padded * query.length * Float32Array.BYTES_PER_ELEMENT > PLACE_BYTES) return false;
      const at = placeOf(vectors);
      new Float32Array(memory.buffer, QUERY_AT, query.length).set(query);
      run.dots(at, padded, query.length, QUERY_AT, OUT_AT);
      out.set(new Float32Array(memory.buffer, OUT_AT, out.length));
      return true;
    },
    forget() {
      for (const place of places) place.rows = undefined;
      bytes.fill(0);
    },
    halves(query) {
      const padded = Math.ceil((query.length * 2) / ROW_UNIT) * (ROW_UNIT / 2);
      const values = new Float32Array(memory.buffer, QUERY_AT, padded).fill(0);
      values.set(query);
      run.halves(QUERY_AT, padded);
      return values.slice();
    },
  };
}
