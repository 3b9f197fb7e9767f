/** The sources of an answer: which passages it rests on, each with the words that stand behind it, checked. */
import type { Source } from '../contracts/index.ts';
import { stripInvisible } from '../kernel/text/normalise.ts';
import { queryLexemes } from '../kernel/text/query.ts';
import { sentences } from '../kernel/text/sentences.ts';
import { bestQuote, citations, type Quote, verifyQuote } from './quotes.ts';

/** A stored chunk, with its place in the document's text. */
export interface CitableChunk {
  readonly chunk_id: string;
  readonly page: number | null;
  readonly start: number;
  readonly text: string;
}

/** A passage as the model saw it under its number: the chunk that was found, and those around it. */
export interface CitablePassage {
  readonly n: number;
  readonly document_id: string;
  /** Of the document: all chunks are of one. */
  readonly version: number;
  readonly title: string;
  /** The one that was found first. */
  readonly chunks: readonly [CitableChunk, ...CitableChunk[]];
}

const LONGEST_UNQUOTED = 300;
/** An answer that cites nothing rests on a passage that holds so much of one of its sentences. */
const SUPPORTS = 0.5;
/** A sentence of fewer words says too little to be told from others by them. */
const LEAST_WORDS = 3;
/** What an answer itself puts in quotation marks, unless it is a word or two. */
const OWN_QUOTE =
  /\u201c([^\u201c\u201d\n]{16,600})\u201d|"([^"\u201c\u201d\n]{16,600})"|\u300c([^\u300c\u300d\n]{8,600})\u300d/g;

/** A source whose quote is the part of the passage's chunks that best supports a claim; the found chunk where none does. */
export function sourceFor({ n, document_id, version, title, chunks }: CitablePassage, claim: string): Source {
  let best: { chunk: CitableChunk; quote: Quote | null } = {
    chunk: chunks[0],
    quote: bestQuote(claim, chunks[0].text),
  };
  for (const chunk of chunks.slice(1)) {
    const quote = bestQuote(claim, chunk.text);
    if ((quote?.coverage ?? 0) > (best.quote?.coverage ?? 0)) best = { chunk, quote };
  }
  const { chunk } = best;
  const text = best.quote?.text ?? chunk.text.trim().slice(0, LONGEST_UNQUOTED).toWellFormed();
  const place = best.quote ?? verifyQuote(text, chunk.text);
  return {
    n,
    document_id,
    chunk_id: chunk.chunk_id,
    version,
    title,
    page: chunk.page,
    start: chunk.start + (place?.start ?? 0),
    end: chunk.start + (place?.end ?? chunk.text.length),
    quote: text,
    verified: place !== null && quotesStand(claim, chunks),
    state: 'current',
  };
}

/** The same words: how quotation marks, dashes, spaces and capitals are written is the model's way of writing. */
const squeeze = (text: string): string =>
  stripInvisible(text)
    .normalize('NFKC')
    .replace(/[\u2018\u2019\u201a\u201b\u2032`\u00b4]/g, "'")
    .replace(/[\u201c-\u201f\u00ab\u00bb\u2033]/g, '"')
    .replace(/[\u2010-\u2015\u2212]/g, '-')
    .replace(/\s+/g, ' ')
    .trim()
    .toLowerCase();

/** Whether everything that a claim puts in quotation marks stands so in one of the chunks. */
function quotesStand(claim: string, chunks: readonly CitableChunk[]): boolean {
  const texts = chunks.map(({ text }) => squeeze(text));
  return [...claim.matchAll(OWN_QUOTE)].every(([, curved, straight, eastern]) => {
    const quoted = squeeze(curved ?? straight ?? eastern ?? '').replace(/[.,;:!?\u3002]+$/, '');
    return texts.some((text) => text.includes(quoted));
  });
}

/**
 * The sources of a finished answer, in the order of their numbers' first appearance: those it cites, each quoted where it
 * supports its claims. An answer that cites none has those that hold most of one of its sentences; none where none does.
 */
export function sourcesOf(answer: string, passages: readonly CitablePassage[]): Source[] {
  const claims = new Map<number, string>();
  for (const { n, claim } of citations(answer)) claims.set(n, `${claims.get(n) ?? ''} ${claim}`.trim());
  const byNumber = new Map(passages.map((passage) => [passage.n, passage]));
  const cited = [...claims].flatMap(([n, claim]) => {
    const passage = byNumber.get(n);
    return passage ? [sourceFor(passage, claim)] : [];
  });
  if (cited.length > 0) return cited;
  const said = sentences(answer).flatMap(({ text }) => (queryLexemes(text).length >= LEAST_WORDS ? [text] : []));
  return passages.flatMap((passage) => {
    let best = { claim: '', coverage: 0 };
    for (const claim of said) {
      for (const { text } of passage.chunks) {
        const coverage = bestQuote(claim, text)?.coverage ?? 0;
        if (coverage > best.coverage) best = { claim, coverage };
      }
    }
    return best.coverage >= SUPPORTS ? [sourceFor(passage, best.claim)] : [];
  });
}

/**
 * Holds sources, with their states of now, against what is stored, `chunk id → text`. A deleted document says nothing any
 * more; a chunk that made room for a newer version's still stands in the text that is kept; what differs is not verified.
 */
export function recheck(sources: readonly Source[], stored: ReadonlyMap<string, string>): Source[] {
  return sources.map((source) => {
    if (source.state === 'deleted') return { ...source, quote: '', verified: false };
    const text = stored.get(source.chunk_id);
    const stands = text === undefined ? source.state === 'replaced' : text.includes(source.quote);
    return stands ? source : { ...source, verified: false };
  });
}

const UNSUPPORTED = {
  en: '(No passage of your documents supports this answer.)',
  zh: '（您的文档中没有支持此回答的内容。）',
  ja: '（この回答を裏付ける記述は文書にありません。）',
} as const;

/** What an answer says of itself that rests on no source, in the reader's language (`en`, `zh`, `ja`; else English). */
export function unsupportedNotice(language: string): string {
  return `\n\n${language === 'zh' || language === 'ja' ? UNSUPPORTED[language] : UNSUPPORTED.en}`;
}
