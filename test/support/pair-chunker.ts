/** Two lines a chunk: what the chunker of a later release might cut of the same text. */
import type { Chunk, Chunker } from '../../src/contracts/index.ts';
import { createChunker } from '../../src/ingest/chunker.ts';

export const pairChunker: Chunker = {
  version: 'pairs-1',
  defaults: { ...createChunker().defaults, chunk_tokens: 200, chunk_overlap: 0 },
  async stream() {
    let text = '';
    return {
      push(piece) {
        text += piece;
        return [];
      },
      end() {
        const chunks: Chunk[] = [];
        for (const { 0: pair, index: start } of text.matchAll(/[^\n]+(\n[^\n]+)?/g)) {
          const place = { start, end: start + pair.length };
          chunks.push({ ...place, ordinal: chunks.length, text: pair, page: null, headings: [], tokens: pair.length });
        }
        return chunks;
      },
    };
  },
};
