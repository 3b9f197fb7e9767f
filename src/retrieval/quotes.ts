/** Citations that hold: what an answer cites, and the words of a chunk that stand behind it. */
import type { TextSpan } from '../contracts/index.ts';
import { CITATION_FORM, numbersOf } from '../kernel/text/citation-form.ts';
import { analyse } from '../kernel/text/lexemes.ts';
import { queryLexemes } from '../kernel/text/query.ts';
import { type Sentence, sentences } from '../kernel/text/sentences.ts';

export interface Quote extends TextSpan {
  /** Exactly `chunkText.slice(start, end)`. */
  readonly text: string;
  /** Share of the claim's weighted terms that the quote holds, 0…1. */
  readonly coverage: number;
}

/** A second sentence joins the quote when it covers so much more of the claim. */
const WORTH_A_SECOND = 0.15;
/** A longer sentence is quoted by the part around its first matching word. */
const MAX_QUOTE = 600;

/**
 * The one or two neighbouring sentences of a chunk that cover most of a claim (an answer's sentence, or the question).
 * `null` where no sentence shares a term with it. Offsets count in `chunkText`; ties go to the earlier sentence.
 */
export function bestQuote(claim: string, chunkText: string): Quote | null {
  const terms = queryLexemes(claim);
  const total = terms.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return null;
  const weights = new Map(terms.map(({ term, weight }) => [term, weight / total]));
  const parts = sentences(chunkText).map((sentence) => ({ sentence, terms: termsIn(sentence.text, weights) }));
  let best: { from: Sentence; to: Sentence; coverage: number } | undefined;
  for (const [index, part] of parts.entries()) {
    const alone = covered(part.terms, weights);
    if (alone > (best?.coverage ?? 0)) best = { from: part.sentence, to: part.sentence, coverage: alone };
    const next = parts[index + 1];
    if (!next || alone === 0) continue;
    const together = covered(new Set([...part.terms, ...next.terms]), weights);
    const single = Math.max(alone, covered(next.terms, weights), best?.coverage ?? 0);
    if (together > single + WORTH_A_SECOND) best = { from: part.sentence, to: next.sentence, coverage: together };
  }
  if (!best) return null;
  const { start, end } = shorten(chunkText, { start: best.from.start, end: best.to.end }, weights);
  return { start, end, text: chunkText.slice(start, end), coverage: best.coverage };
}

/** Where a quote stands word for word in a chunk, `null` when it does not. White space at its ends is not part of it. */
export function verifyQuote(quote: string, chunkText: string): TextSpan | null {
  const words = quote.trim();
  if (!words) return null;
  const start = chunkText.indexOf(words);
  return start < 0 ? null : { start, end: start + words.length };
}

export interface Citation {
  readonly n: number;
  /** The sentence that the number stands behind, without citations; `''` where there is none. */
  readonly claim: string;
}

const CODE = /```[\s\S]*?(?:```|$)|`[^`\n]*`/g;
const GROUP = new RegExp(CITATION_FORM, 'gi');

/** Citations of an answer in order (`citation-form.ts`); what stands in code is none. */
export function citations(answer: string): Citation[] {
  const text = answer.replace(CODE, (code) => ' '.repeat(code.length));
  const found: Citation[] = [];
  let claim = '';
  let behind = 0;
  for (const match of text.matchAll(GROUP)) {
    const between = text.slice(behind, match.index);
    if (between.trim() !== '') claim = sentences(between).at(-1)?.text ?? '';
    behind = match.index + match[0].length;
    for (const n of numbersOf(match[1] ?? '')) found.push({ n, claim });
  }
  return found;
}

/** The numbers that an answer cites, each once, in order of first appearance. */
export function citedNumbers(answer: string): number[] {
  return [...new Set(citations(answer).map(({ n }) => n))];
}

function termsIn(text: string, weights: ReadonlyMap<string, number>): Set<string> {
  return new Set(analyse(text).lexemes.flatMap(({ term }) => (weights.has(term) ? [term] : [])));
}

function covered(terms: ReadonlySet<string>, weights: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const term of terms) sum += weights.get(term) ?? 0;
  return sum;
}

/** Cuts a span that is too long to the window of `MAX_QUOTE` with most of the claim in it, at spaces where there are any. */
function shorten(text: string, span: TextSpan, weights: ReadonlyMap<string, number>): TextSpan {
  if (span.end - span.start <= MAX_QUOTE) return span;
  let best = { start: span.start, end: span.start + MAX_QUOTE };
  let most = -1;
  for (let start = span.start; start < span.end; start += MAX_QUOTE / 3) {
    const window = {
      start: wordStart(text, start, span.start),
      end: wordEnd(text, Math.min(start + MAX_QUOTE, span.end), span.end),
    };
    const score = covered(termsIn(text.slice(window.start, window.end), weights), weights);
    if (score > most) {
      most = score;
      best = window;
    }
  }
  return best;
}

function wordStart(text: string, at: number, from: number): number {
  if (at <= from) return from;
  const space = text.indexOf(' ', at);
  return space >= 0 && space - at < 40 ? space + 1 : wholeCharacter(text, at);
}

function wordEnd(text: string, at: number, to: number): number {
  if (at >= to) return to;
  const space = text.lastIndexOf(' ', at);
  return space >= 0 && at - space < 40 ? space : wholeCharacter(text, at);
}

function wholeCharacter(text: string, at: number): number {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at;
}
