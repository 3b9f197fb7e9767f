/**
 * The full-text column of a chunk, written by us: PostgreSQL's own parser knows neither Chinese words nor our stems. The
 * text form `'lexeme':1,4` carries positions, so a query has each term's frequency (the number of its positions).
 *
 * What goes in was measured on XQuAD and five English corpora: words inside identifiers, single characters and pairs of
 * them earn their place; four characters at a time inside words triple an English row and gain nothing in text search
 * (the built-in embeddings carry that evidence), and neighbouring words are in the positions already.
 */
import { visitLexemes } from './lexemes.ts';

/** PostgreSQL keeps positions up to 16383 and 255 of them a lexeme. */
const MAX_POSITION = 16_383;
const MAX_POSITIONS = 255;

export interface TextIndex {
  /** Each lexeme with its positions, ascending. */
  readonly lexemes: ReadonlyMap<string, readonly number[]>;
  /** Length for BM25, in words; store it beside the tsvector, which cannot tell it. */
  readonly length: number;
}

/** A text's index entry. Cut texts into chunks first: a tsvector holds at most 1 MB and positions end at 16383. */
export function toTextIndex(text: string): TextIndex {
  const positions = new Map<string, number[]>();
  let isFull = false;
  const length = visitLexemes(text, (term, _kind, position) => {
    // The segmenter's words of a run come after its characters: what is behind the first one too far away is left out.
    isFull ||= position > MAX_POSITION;
    if (isFull) return;
    const known = positions.get(term);
    if (known === undefined) positions.set(term, [position]);
    else if (known.length < MAX_POSITIONS && known[known.length - 1] !== position) known.push(position);
  });
  return { lexemes: positions, length };
}

/** The text form, for a parameter cast: `$1::tsvector`. */
export function tsvectorText({ lexemes }: TextIndex): string {
  return Array.from(lexemes, ([term, places]) => `${quoteLexeme(term)}:${places.join(',')}`).join(' ');
}

/**
 * The form in which the server receives a `tsvector` in a binary COPY, which it takes in ten times as fast as text: the
 * number of lexemes in 32 bits, then each with a NUL behind it, the number of its positions and the positions in 16 bits
 * each, all big-endian. The server sorts them.
 */
export function tsvectorBytes({ lexemes }: TextIndex): Uint8Array {
  let size = 4;
  lexemes.forEach((places, term) => {
    size += term.length * 3 + 3 + places.length * 2;
  });
  const bytes = Buffer.allocUnsafe(size);
  let at = bytes.writeInt32BE(lexemes.size, 0);
  lexemes.forEach((places, term) => {
    at = writeTerm(bytes, term, at);
    bytes[at] = 0;
    bytes[at + 1] = 0;
    bytes[at + 2] = places.length;
    at += 3;
    for (let i = 0; i < places.length; i++) {
      const place = places[i] ?? 0;
      bytes[at] = place >> 8;
      bytes[at + 1] = place;
      at += 2;
    }
  });
  return bytes.subarray(0, at);
}

/** In UTF-8; a call out of the runtime takes longer than a short word does byte by byte. Returns where it ends. */
function writeTerm(bytes: Buffer, term: string, from: number): number {
  for (let i = 0; i < term.length; i++) {
    const code = term.charCodeAt(i);
    if (code >= 0x80) return from + bytes.write(term, from, 'utf8');
    bytes[from + i] = code;
  }
  return from + term.length;
}

/** Matches what holds any of the terms, for a parameter cast: `$1::tsquery`. */
export function tsqueryText(terms: readonly string[]): string {
  return terms.map(quoteLexeme).join(' | ');
}

/** Quotes a lexeme for the text form of a `tsvector` or a `tsquery`. */
function quoteLexeme(term: string): string {
  return `'${term.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
