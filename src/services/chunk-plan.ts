/**
 * Where a text is cut, without the text: some 30 bytes a chunk, so that the chunks of half a gigabyte fit beside
 * everything else. It is made once an attempt; that an attempt makes the same one again is what it resumes by.
 */
import type { Chunk } from '../contracts/index.ts';
import type { DocumentText } from './document-text.ts';

export interface ChunkPlan {
  readonly size: number;
  add(chunk: Chunk): void;
  /** Chunks `from` to `to` (exclusive) with their texts: one read of the stretch that holds them. */
  read(text: DocumentText, from: number, to: number): Promise<Chunk[]>;
}

const FIELDS = 5;
const FIRST_CHUNKS = 256;
const NO_PAGE = -1;

export function createChunkPlan(): ChunkPlan {
  /** Start, end, page, tokens and the place of its headings in `paths`. */
  let numbers = new Int32Array(FIRST_CHUNKS * FIELDS);
  let size = 0;
  /** Chunks of one section share their headings. */
  const paths: (readonly string[])[] = [];

  const field = (chunk: number, which: number): number => numbers[chunk * FIELDS + which] ?? 0;

  return {
    get size() {
      return size;
    },
    add({ start, end, page, tokens, headings }) {
      if ((size + 1) * FIELDS > numbers.length) {
        const larger = new Int32Array(numbers.length * 2);
        larger.set(numbers);
        numbers = larger;
      }
      if (paths.at(-1) !== headings) paths.push(headings);
      numbers.set([start, end, page ?? NO_PAGE, tokens, paths.length - 1], size * FIELDS);
      size += 1;
    },
    async read(text, from, to) {
      const last = Math.min(to, size);
      if (from >= last) return [];
      const base = field(from, 0);
      let end = base;
      for (let chunk = from; chunk < last; chunk++) end = Math.max(end, field(chunk, 1));
      const stretch = await text.slice(base, end);
      const chunks: Chunk[] = [];
      for (let chunk = from; chunk < last; chunk++) {
        const [start, stop, page] = [field(chunk, 0), field(chunk, 1), field(chunk, 2)];
        chunks.push({
          ordinal: chunk,
          start,
          end: stop,
          text: stretch.slice(start - base, stop - base),
          page: page === NO_PAGE ? null : page,
          headings: paths[field(chunk, 4)] ?? [],
          tokens: field(chunk, 3),
        });
      }
      return chunks;
    },
  };
}
