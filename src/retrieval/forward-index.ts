/**
 * What one chunk says, by its terms: the tsvector's text form, read back. A chunk's text never changes, so this can be
 * kept for as long as its id is in use.
 */
import type { LexicalPart, ReadPart } from './lexical.ts';

/** Positions of each term, ascending, from 1. */
export type ForwardIndex = ReadonlyMap<string, readonly number[]>;

/** Reads `'term':1,5 'it''s':2`; weights are not used by us and skipped. Linear in the text. */
export function parseTsvector(text: string): ForwardIndex {
  const terms = new Map<string, readonly number[]>();
  let at = 0;
  while (at < text.length) {
    if (text.charCodeAt(at) !== QUOTE) {
      at += 1;
      continue;
    }
    let end = at + 1;
    let plain = true;
    for (; end < text.length; end += 1) {
      const unit = text.charCodeAt(end);
      if (unit === BACKSLASH) {
        plain = false;
        end += 1;
      } else if (unit === QUOTE) {
        if (text.charCodeAt(end + 1) !== QUOTE) break;
        plain = false;
        end += 1;
      }
    }
    const raw = text.slice(at + 1, end);
    const positions: number[] = [];
    at = end + 1;
    if (text.charCodeAt(at) === COLON) {
      let number = 0;
      for (at += 1; at < text.length; at += 1) {
        const unit = text.charCodeAt(at);
        if (unit >= ZERO && unit <= NINE) number = number * 10 + unit - ZERO;
        else if (unit === COMMA) {
          positions.push(number);
          number = 0;
        } else if (unit === SPACE) break;
      }
      positions.push(number);
    }
    terms.set(plain ? raw : raw.replaceAll("''", "'").replaceAll('\\\\', '\\'), positions);
  }
  return terms;
}

const [QUOTE, BACKSLASH, COLON, COMMA, SPACE, ZERO, NINE] = [39, 92, 58, 44, 32, 48, 57];
/** How often a posting can say that a chunk holds a term. */
const MOST_OFTEN = 255;

export interface LooseChunk {
  readonly documentId: string;
  /** In words. */
  readonly length: number;
  readonly index: ForwardIndex;
}

/** A part of chunks that no segment holds yet, with the postings of some terms. Chunks come by document and order. */
export function partOf(chunks: readonly LooseChunk[], terms: readonly string[]): ReadPart {
  const documents = new Int32Array(chunks.length);
  for (let number = 1; number < chunks.length; number += 1) {
    const isNext = chunks[number]?.documentId !== chunks[number - 1]?.documentId;
    documents[number] = (documents[number - 1] ?? 0) + (isNext ? 1 : 0);
  }
  const postings = new Map(
    terms.map((term): [string, Int32Array] => {
      const found: number[] = [];
      for (const [number, { index }] of chunks.entries()) {
        const positions = index.get(term);
        if (positions) found.push(number * 256 + Math.min(MOST_OFTEN, Math.max(1, positions.length)));
      }
      return [term, Int32Array.from(found)];
    }),
  );
  const part: LexicalPart = {
    size: chunks.length,
    lengths: Float32Array.from(chunks, ({ length }) => length),
    documents,
  };
  return { part, postings };
}
