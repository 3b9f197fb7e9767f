/**
 * The full-text column of a chunk, written by us: PostgreSQL's own parser knows neither Chinese words nor our stems. The
 * text form `'lexeme':1,4` carries positions, so a query has each term's frequency (the number of its positions).
 *
 * What goes in was measured on XQuAD and five English corpora: words inside identifiers, single characters and pairs of
 * them earn their place; four characters at a time inside words triple an English row and gain nothing in text search
 * (the built-in embeddings carry that evidence), and neighbouring words are in the positions already.
 */
import { visitLexemes } from './lexemes.ts';
import { countForms, countNextText, countTerm, encodeCounted } from './term-counts.ts';

/** PostgreSQL keeps positions up to 16383. */
const MAX_POSITION = 16_383;

export interface TextIndex {
  /** Length for BM25, in words; store it beside the tsvector, which cannot tell it. */
  readonly length: number;
  /**
   * The form in which the server receives a `tsvector` in a binary COPY, which it takes in ten times as fast as text: the
   * number of lexemes in 32 bits, then each with a NUL behind it, the number of its positions and the positions in 16 bits
   * each, all big-endian. The server sorts them.
   */
  readonly tsvector: Uint8Array;
  /** Each lexeme with its positions, ascending; read from the tsvector each time. */
  readonly lexemes: ReadonlyMap<string, readonly number[]>;
}

/** A text's index entry. Cut texts into chunks first: a tsvector holds at most 1 MB and positions end at 16383. */
export function toTextIndex(text: string): TextIndex {
  countNextText();
  let isFull = false;
  const length = visitLexemes(text, (term, _kind, position, forms) => {
    // The segmenter's words of a run come after its characters: what is behind the first one too far away is left out.
    isFull ||= position > MAX_POSITION;
    if (isFull) return;
    if (forms === undefined) countTerm(term, position);
    else countForms(forms, position);
  });
  const tsvector = encodeCounted();
  return {
    length,
    tsvector,
    get lexemes() {
      return readTsvector(tsvector);
    },
  };
}

/** The lexemes of a binary tsvector that was made here. */
function readTsvector(tsvector: Uint8Array): Map<string, number[]> {
  const bytes = Buffer.from(tsvector.buffer, tsvector.byteOffset, tsvector.byteLength);
  const lexemes = new Map<string, number[]>();
  let at = 4;
  for (let left = bytes.readInt32BE(0); left > 0; left--) {
    const end = bytes.indexOf(0, at);
    const places = Array.from({ length: bytes.readUInt16BE(end + 1) }, (_, i) => bytes.readUInt16BE(end + 3 + i * 2));
    lexemes.set(bytes.toString('utf8', at, end), places);
    at = end + 3 + places.length * 2;
  }
  return lexemes;
}

/** For a binary COPY. */
export const tsvectorBytes = ({ tsvector }: Pick<TextIndex, 'tsvector'>): Uint8Array => tsvector;

/** The text form, for a parameter cast: `$1::tsvector`. */
export function tsvectorText({ lexemes }: Pick<TextIndex, 'lexemes'>): string {
  return Array.from(lexemes, ([term, places]) => `${quoteLexeme(term)}:${places.join(',')}`).join(' ');
}

/** Matches what holds any of the terms, for a parameter cast: `$1::tsquery`. */
export function tsqueryText(terms: readonly string[]): string {
  return terms.map(quoteLexeme).join(' | ');
}

/** Quotes a lexeme for the text form of a `tsvector` or a `tsquery`. */
function quoteLexeme(term: string): string {
  return `'${term.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}
