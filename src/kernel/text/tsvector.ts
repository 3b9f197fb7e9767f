/**
 * The full-text column of a chunk, written by us: PostgreSQL's own parser knows neither Chinese words nor our stems. The
 * text form `'lexeme':1,4` carries positions, so a query has each term's frequency (the number of its positions).
 *
 * What goes in was measured on XQuAD and five English corpora: words inside identifiers, single characters and pairs of
 * them earn their place; four characters at a time inside words triple an English row and gain nothing in text search
 * (the built-in embeddings carry that evidence), and neighbouring words are in the positions already.
 */
import { analyse } from './lexemes.ts';

/** PostgreSQL keeps positions up to 16383 and 255 of them a lexeme. */
const MAX_POSITION = 16_383;
const MAX_POSITIONS = 255;

export interface TextIndex {
  /** For a parameter cast: `$1::tsvector`. */
  readonly tsvector: string;
  /** Length for BM25, in words; store it beside the tsvector, which cannot tell it. */
  readonly length: number;
}

/** A text's index entry. Cut texts into chunks first: a tsvector holds at most 1 MB and positions end at 16383. */
export function toTextIndex(text: string): TextIndex {
  const { lexemes, length } = analyse(text);
  const positions = new Map<string, number[]>();
  for (const { term, position } of lexemes) {
    if (position > MAX_POSITION) break;
    const known = positions.get(term);
    if (!known) positions.set(term, [position]);
    else if (known.length < MAX_POSITIONS && known.at(-1) !== position) known.push(position);
  }
  const entries = [...positions].map(([term, places]) => `${quoteLexeme(term)}:${places.join(',')}`);
  return { tsvector: entries.join(' '), length };
}

/** Quotes a lexeme for the text form of `tsvector` and `tsquery`. */
function quoteLexeme(term: string): string {
  return `'${term.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** A `tsquery` that any of the terms satisfies, for `$1::tsquery`; empty for no terms, which matches nothing. */
export function toTsquery(terms: readonly string[]): string {
  return terms.map(quoteLexeme).join(' | ');
}
