/**
 * The yardstick: plain BM25 (k1 1.2, b 0.75) over whole documents, stemmed, without English function words, in memory.
 * It shares no code with DreamHub's ranking but the stemmer; Chinese, Japanese and Korean are cut into pairs of characters.
 */
import { stem } from 'porter2';
import type { EvalDocument } from './sets.ts';

const K1 = 1.2;
const B = 0.75;
/** Lucene's English list. */
const STOP = new Set(
  `a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with`.split(/\s+/),
);
const TOKEN = /([\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]+)|([\p{L}\p{M}\p{N}]+)/gu;

function tokens(text: string): string[] {
  const found: string[] = [];
  for (const [, dense, word] of text.normalize('NFKC').toLowerCase().matchAll(TOKEN)) {
    if (word !== undefined) {
      if (!STOP.has(word)) found.push(/^[a-z]+$/.test(word) ? stem(word) : word);
    } else {
      const characters = Array.from(dense ?? '');
      if (characters.length === 1) found.push(...characters);
      for (const [index, character] of characters.slice(1).entries()) found.push(`${characters[index]}${character}`);
    }
  }
  return found;
}

export interface Reference {
  /** Document ids, best first. */
  search(query: string, limit: number): string[];
}

export function createReference(documents: readonly EvalDocument[]): Reference {
  const postings = new Map<string, { document: number; tf: number }[]>();
  const lengths = documents.map(({ title, text }, document) => {
    const counts = new Map<string, number>();
    const all = tokens(`${title} ${text}`);
    for (const token of all) counts.set(token, (counts.get(token) ?? 0) + 1);
    for (const [token, tf] of counts) {
      const list = postings.get(token);
      if (list) list.push({ document, tf });
      else postings.set(token, [{ document, tf }]);
    }
    return all.length;
  });
  const average = lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, lengths.length);
  return {
    search(query, limit) {
      const scores = new Map<number, number>();
      for (const token of tokens(query)) {
        const list = postings.get(token) ?? [];
        const idf = Math.log(1 + (documents.length - list.length + 0.5) / (list.length + 0.5));
        for (const { document, tf } of list) {
          const norm = K1 * (1 - B + (B * (lengths[document] ?? 0)) / average);
          scores.set(document, (scores.get(document) ?? 0) + (idf * tf * (K1 + 1)) / (tf + norm));
        }
      }
      const order = [...scores].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, limit);
      return order.map(([document]) => documents[document]?.id ?? '');
    },
  };
}
