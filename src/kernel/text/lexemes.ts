/**
 * Index terms of a text. An alphabet's words are stemmed and, where they are identifiers, split as well as kept whole.
 * Chinese and Japanese runs give every pair of neighbouring characters (which covers two-character words, so that a
 * question cut differently from the passage still meets it), every Chinese character that is no function word, and the
 * segmenter's words of three characters and more. Korean and other scripts without spaces likewise.
 */
import { scriptOf } from './script.ts';
import { isStopWord } from './stop-words.ts';
import { segmentRun, visitWords, type WordForms } from './words.ts';

/** `word` whole words · `part` a word inside an identifier · `pair` two neighbouring characters · `char` one. */
export type LexemeKind = 'word' | 'part' | 'pair' | 'char';

export interface Lexeme {
  readonly term: string;
  readonly kind: LexemeKind;
  /** From 1; counts words of alphabets and characters of scripts without spaces. */
  readonly position: number;
}

export interface Analysis {
  readonly lexemes: Lexeme[];
  /** Length of the text for ranking: words, where two characters of a script without spaces count as one. */
  readonly length: number;
}

export interface AnalyseOptions {
  /** `false` leaves out the segmenter's words, whose dictionary changes with the runtime: for what must never change. */
  segment?: boolean;
}

export function analyse(text: string, options?: AnalyseOptions): Analysis {
  const lexemes: Lexeme[] = [];
  const length = visitLexemes(text, (term, kind, position) => lexemes.push({ term, kind, position }), options);
  return { lexemes, length };
}

/**
 * As `analyse`, without a list: calls `visit` for each lexeme in order, and returns the length. `forms` are those of an
 * alphabet's word, whose `term` it is.
 */
export function visitLexemes(
  text: string,
  visit: (term: string, kind: LexemeKind, position: number, forms?: WordForms) => void,
  { segment = true }: AnalyseOptions = {},
): number {
  let position = 0;
  let words = 0;
  let characters = 0;
  visitWords(text, {
    word(forms) {
      const { term, parts } = forms;
      if (!term) return;
      position += 1;
      words += 1;
      visit(term, 'word', position, forms);
      for (let i = 0; i < parts.length; i++) visit(parts[i] ?? '', 'part', position);
    },
    run(run) {
      const start = position + 1;
      const units = Array.from(run);
      for (const [index, unit] of units.entries()) {
        position += 1;
        characters += 1;
        if (units.length === 1 || meansAlone(unit)) visit(unit, 'char', position);
        const next = units[index + 1];
        if (next !== undefined) visit(unit + next, 'pair', position);
      }
      if (!segment) return;
      let at = start;
      for (const word of segmentRun(run)) {
        const size = Array.from(word).length;
        if (size > 2) visit(word, 'word', at);
        at += size;
      }
    },
  });
  return words + characters / 2;
}

/** A Chinese character or Korean syllable that is no function word: a letter of another script says nothing by itself. */
export function meansAlone(unit: string): boolean {
  const script = scriptOf(unit.codePointAt(0) ?? 0);
  return (script === 'han' || script === 'hangul') && !isStopWord(unit);
}

/** Index terms of a text in order; see `analyse`. */
export function lexemes(text: string): string[] {
  return analyse(text).lexemes.map(({ term }) => term);
}
