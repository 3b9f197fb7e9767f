/**
 * Answers with no model: the sentences of the passages that say most about the question, each with its citation, and the
 * plain statement that they are extracts. A sentence earns the inverse document frequency of each of the question's terms
 * that it, its neighbours (less) or its headings (less) hold, a little for its passage's rank, and for a number or date where one
 * is asked for. Deterministic.
 */
import type { AnswerPart, AnswerRequest, ChatProvider, HistoryMessage, Passage } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { CITATION_FORM } from '../kernel/text/citation-form.ts';
import { baseLanguage, detectLanguage } from '../kernel/text/language.ts';
import { analyse } from '../kernel/text/lexemes.ts';
import { stripInvisible, truncate } from '../kernel/text/normalise.ts';
import { queryLexemes } from '../kernel/text/query.ts';
import { sentences } from '../kernel/text/sentences.ts';
import { estimateTokens } from '../kernel/text/tokens.ts';
import { extractSummary } from './builtin-summary.ts';

export interface BuiltinChatOptions {
  /** Streams at a model's pace, for demonstrations and tests of slow streams; absent: as fast as it is read. */
  pace?: { tokensPerSecond: number; clock: Clock };
}

const MODEL = 'dreamhub-extractive';
const CONTEXT_TOKENS = 16_384;
const MOST_SENTENCES = 4;
/** A sentence joins the answer when it earns so much of what the best one does. */
const NEAR_BEST = 0.6;
/** Below this share of the question's weight the passages do not speak of it. */
const LEAST_COVERAGE = 0.26;
/** What a user has noted is told where it holds so much of the question. */
const LEAST_SHARE_OF_FACT = 0.5;
const MOST_FACTS = 3;
const NEIGHBOUR_SHARE = 0.4;
const HEADING_SHARE = 0.4;
const PASSAGE_SHARE = 0.5;
const HINT_BONUS = 0.12;
/** A follow-up question leans on the one before it. */
const EARLIER_SHARE = 0.5;
const MAX_SENTENCE = 600;
/** Deltas between two turns of the event loop, so that an abort is seen. */
const DELTAS_A_TURN = 8;

const WORDS = {
  en: {
    found: 'Extracted from your documents (no language model configured):',
    noted: 'You noted:',
    none: 'Your documents say nothing about this. (No language model is configured; answers are extracts from documents.)',
  },
  zh: {
    found: '以下内容摘自您的文档（未配置语言模型）：',
    noted: '您记下的信息：',
    none: '您的文档中没有找到与此问题相关的内容。（未配置语言模型，回答仅为文档摘录。）',
  },
  ja: {
    found: '文書からの抜粋です（言語モデルは設定されていません）：',
    noted: 'メモされている内容：',
    none: '文書にはこの質問に関する記述が見つかりませんでした。（言語モデルは設定されていません。）',
  },
} as const;

const BOILERPLATE: ReadonlySet<string> = new Set(Object.values(WORDS).flatMap((words) => Object.values(words)));

export function createBuiltinChat({ pace }: BuiltinChatOptions = {}): ChatProvider {
  return {
    provider: 'builtin',
    model: MODEL,
    contextTokens: CONTEXT_TOKENS,
    countTokens: estimateTokens,
    async summarise(request, signal) {
      signal.throwIfAborted();
      const text = extractSummary(request, BOILERPLATE) || firstWords(request.messages);
      const read = request.messages.reduce((sum, { content }) => sum + estimateTokens(content), 0);
      return { text, model: MODEL, promptTokens: read, completionTokens: estimateTokens(text), counted: true };
    },
    async *answer(request, signal): AsyncGenerator<AnswerPart> {
      const { text, supported } = composeAnswer(request);
      if (!supported) yield { type: 'unsupported' };
      for (const [index, delta] of deltasOf(text).entries()) {
        if (pace) await pace.clock.sleep(1000 / pace.tokensPerSecond, signal);
        else if (index % DELTAS_A_TURN === 0) await new Promise(setImmediate);
        signal.throwIfAborted();
        yield { type: 'delta', text: delta };
      }
      const read = request.passages.reduce(
        (sum, passage) => sum + estimateTokens(passage.text),
        estimateTokens(request.question),
      );
      yield { type: 'usage', promptTokens: read, completionTokens: estimateTokens(text), cost: 0, counted: true };
    },
  };
}

/** The whole extractive answer; `supported` is false where it only says that the passages hold none. */
export function composeAnswer(request: AnswerRequest): { text: string; supported: boolean } {
  const language = request.language === undefined ? detectLanguage(request.question) : baseLanguage(request.language);
  const words = language === 'zh' || language === 'ja' ? WORDS[language] : WORDS.en;
  const extracts = extract(request);
  const noted = (request.facts ?? []).filter(({ share }) => share >= LEAST_SHARE_OF_FACT).slice(0, MOST_FACTS);
  const parts: string[] = [];
  if (noted.length > 0) {
    parts.push(`${words.noted}\n\n${noted.map(({ name, text }) => `- ${clean(`${name}: ${text}`)}`).join('\n')}`);
  }
  if (extracts.length > 0) {
    parts.push(`${words.found}\n\n${extracts.map(({ text, n }) => `${text} [${n}]`).join('\n\n')}`);
  }
  return parts.length > 0 ? { text: parts.join('\n\n'), supported: true } : { text: words.none, supported: false };
}

interface Candidate {
  readonly n: number;
  readonly text: string;
  readonly order: number;
  readonly terms: ReadonlySet<string>;
  /** Terms of headings and title. */
  readonly above: ReadonlySet<string>;
  readonly before: Candidate | undefined;
  readonly passageScore: number;
}

function extract(request: AnswerRequest): { n: number; text: string }[] {
  const wanted = wantedTerms(request);
  const candidates = request.passages.flatMap(candidatesOf);
  if (wanted.size === 0 || candidates.length === 0) return [];
  const worth = new Map<string, number>();
  for (const [term, weight] of wanted) {
    const holders = candidates.filter(({ terms }) => terms.has(term)).length;
    worth.set(term, weight * Math.log(1 + (candidates.length - holders + 0.5) / (holders + 0.5) + 0.2));
  }
  const total = [...worth.values()].reduce((sum, value) => sum + value, 0);
  const hint = hintOf(request.question);
  const scored = candidates
    .map((candidate) => {
      const coverage = coverageOf(candidate, worth) / total;
      const score =
        coverage * (1 - PASSAGE_SHARE + PASSAGE_SHARE * candidate.passageScore) +
        (coverage > 0 && hint?.test(candidate.text) ? HINT_BONUS : 0);
      return { candidate, coverage, score };
    })
    .sort((a, b) => b.score - a.score || a.candidate.order - b.candidate.order || a.candidate.n - b.candidate.n);
  const best = scored[0];
  if (!best || best.coverage < LEAST_COVERAGE) return [];
  const seen = new Set<string>();
  const chosen: { n: number; text: string }[] = [];
  for (const { candidate, score } of scored) {
    if (chosen.length >= MOST_SENTENCES || score < NEAR_BEST * best.score) break;
    const key = candidate.text.toLowerCase();
    if (seen.has(key)) continue;
    seen.add(key);
    chosen.push({ n: candidate.n, text: candidate.text });
  }
  return chosen;
}

/** Terms of the question; of the one before it as well where this one is short or points back ("and in 2023?"). */
function wantedTerms({ question, history }: AnswerRequest): Map<string, number> {
  const terms = new Map(queryLexemes(question).map(({ term, weight }) => [term, weight]));
  const followUp =
    terms.size < 3 || /^\s*(?:and|but|what about|how about|那|那么|还有|では|じゃあ|それ)/iu.test(question);
  const earlier = followUp ? history.findLast(({ role }) => role === 'user') : undefined;
  for (const { term, weight } of earlier ? queryLexemes(earlier.content) : []) {
    if (!terms.has(term)) terms.set(term, weight * EARLIER_SHARE);
  }
  return terms;
}

function candidatesOf({ n, text, title, headings, score }: Passage): Candidate[] {
  const above = termsOf([title, ...headings].join('\n'));
  const candidates: Candidate[] = [];
  for (const sentence of sentences(stripInvisible(text))) {
    if (/^#{1,6}\s/.test(sentence.text) || headings.includes(sentence.text.trim())) continue;
    const readable = clean(sentence.text);
    const terms = termsOf(readable);
    if (terms.size === 0) continue;
    candidates.push({
      n,
      text: readable,
      order: candidates.length,
      terms,
      above,
      before: candidates.at(-1),
      passageScore: score,
    });
  }
  return candidates;
}

function coverageOf({ terms, above, before }: Candidate, worth: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const [term, value] of worth) {
    if (terms.has(term)) sum += value;
    else if (above.has(term)) sum += value * HEADING_SHARE;
    else if (before?.terms.has(term)) sum += value * NEIGHBOUR_SHARE;
  }
  return sum;
}

const termsOf = (text: string): ReadonlySet<string> => new Set(analyse(text).lexemes.map(({ term }) => term));

const CITATION = new RegExp(CITATION_FORM, 'gi');

/** One line, without list and table marks; a bracketed number of the document's own would read as a citation. */
function clean(sentence: string): string {
  const line = sentence
    .replace(/^\s*(?:[-*+•●▪>]|\d{1,3}[.)])\s+/u, '')
    .replace(/\s*\|\s*/g, ' ')
    .replace(CITATION, '($1)')
    .replace(/\s+/g, ' ')
    .trim();
  if (line.length <= MAX_SENTENCE) return line;
  const cut = line.lastIndexOf(' ', MAX_SENTENCE);
  return `${line
    .slice(0, cut > MAX_SENTENCE / 2 ? cut : MAX_SENTENCE)
    .toWellFormed()
    .replace(/\ufffd$/u, '')}…`;
}

/** What kind of thing is asked for, as a pattern that an answer to it shows. */
function hintOf(question: string): RegExp | undefined {
  if (/\bwhen\b|\bwhat (?:year|date|day|month)\b|什么时候|何时|哪一?年|几月|いつ|何年/iu.test(question)) {
    return /\b\d{4}\b|\d\s*[年月日]|\b(?:january|february|march|april|may|june|july|august|september|october|november|december)\b/iu;
  }
  if (
    /\bhow (?:many|much|long|far|old|big|large|high)\b|\bwhat (?:percentage|number|amount|price|cost)\b|多少|几[个名次人年天]|いくつ|いくら|何[人個回円]/iu.test(
      question,
    )
  ) {
    return /\d|[一二三四五六七八九十百千万亿]{2,}|\b(?:two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million)\b/iu;
  }
  return undefined;
}

/** Of a conversation without a word in it. */
const firstWords = (messages: readonly HistoryMessage[]): string =>
  truncate(messages.map(({ content }) => content.trim()).find(Boolean) ?? '…', MAX_SENTENCE);

/** Words with the space before them; a few characters at a time where there are no spaces. Joined they are the text. */
function deltasOf(text: string): string[] {
  return (
    text.match(
      /\s*[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]{1,3}|\s*[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+|\s+/gu,
    ) ?? []
  );
}
