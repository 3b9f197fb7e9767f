/**
 * Distances of a question from many codes or vectors, in this process: 128 bits at a time, several times as fast as
 * JavaScript's own loops. What is compared is copied through a small memory that stays in the processor's cache, so rows
 * live in ordinary arrays and are given up like those.
 */

/** `scan-kernel.wat`, compiled. */
const MODULE = Buffer.from(
  [
    'AGFzbQEAAAABCQFgBX9/f39/AAIQAQRzY2FuBm1lbW9yeQIAAQMDAgAABxYCB2hhbW1pbmcAAAhwcm9kdWN0cwABCv0CApIBAgF/',
    'AXsCQANAIAFFDQH9DAAAAAAAAAAAAAAAAAAAAAAhBkEAIQUDQCAGIAAgBWr9AAQAIAMgBWr9AAQA/VH9Yv19/Y4BIQYgBUEQaiEF',
    'IAUgAkkNAAsgBv1/IQYgBCAG/RsAIAb9GwFqIAb9GwIgBv0bA2pqOwEAIAAgAmohACAEQQJqIQQgAUEBayEBDAALCwvmAQICfwN7',
    '/QwA4P+PAOD/jwDg/48A4P+PIQkgAyACQQJ0aiEGAkADQCABRQ0B/QwAAAAAAAAAAAAAAAAAAAAAIQf9DAAAAAAAAAAAAAAAAAAA',
    'AAAhCCADIQUDQCAHIAX9AAQAIAkgAP0DAwBBDf2rAf1O/eYB/eQBIQcgCCAF/QAEECAJIAD9AwMIQQ39qwH9Tv3mAf3kASEIIABB',
    'EGohACAFQSBqIQUgBSAGSQ0ACyAHIAj95AEhByAEIAf9HwAgB/0fAZIgB/0fAiAH/R8DkpI4AgAgBEEEaiEEIAFBAWshAQwACwsL',
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
}

interface Exports {
  hamming(codes: number, count: number, width: number, query: number, out: number): void;
  products(vectors: number, count: number, dimensions: number, query: number, out: number): void;
}

const PAGE_BYTES = 65_536;
const ROWS_BYTES = 512 * 1_024;
const QUERY_BYTES = PAGE_BYTES;
const OUT_BYTES = (ROWS_BYTES / ROW_UNIT) * Float32Array.BYTES_PER_ELEMENT;
const QUERY_AT = ROWS_BYTES;
const OUT_AT = QUERY_AT + QUERY_BYTES;
/** See `products` in `scan-kernel.wat`. */
const QUERY_SCALE = 2 ** 112;

function instantiate(memory: WebAssembly.Memory): Exports | undefined {
  try {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(MODULE), { scan: { memory } });
    return instance.exports as unknown as Exports;
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return undefined;
    throw error;
  }
}

/** `undefined` on a processor without the instructions that this needs. */
export function createScanKernel(): ScanKernel | undefined {
  const memory = new WebAssembly.Memory({ initial: (OUT_AT + OUT_BYTES) / PAGE_BYTES });
  const run = instantiate(memory);
  if (!run) return undefined;
  const bytes = new Uint8Array(memory.buffer);

  /** Calls `each` with slices of the rows that fit into the memory. */
  function inSlices(rows: Uint8Array, width: number, each: (from: number, count: number) => void): void {
    if (width === 0 || width % ROW_UNIT !== 0 || width > QUERY_BYTES / 2)
      throw new RangeError(`rows of ${width} bytes`);
    const most = Math.floor(ROWS_BYTES / width);
    const total = rows.length / width;
    for (let from = 0; from < total; from += most) {
      const count = Math.min(most, total - from);
      bytes.set(rows.subarray(from * width, (from + count) * width));
      each(from, count);
    }
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
  };
}
