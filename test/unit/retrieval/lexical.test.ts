import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { toTextIndex, tsvectorText } from '../../../src/kernel/text/tsvector.ts';
import { type LooseChunk, parseTsvector, partOf } from '../../../src/retrieval/forward-index.ts';
import {
  type CorpusStatistics,
  inverseDocumentFrequency,
  type ReadPart,
  rankChunks,
  termSaturation,
} from '../../../src/retrieval/lexical.ts';

/** Chunks as they come from the database: a document for each inner list of texts. */
function chunksOf(documents: readonly (readonly string[])[]): LooseChunk[] {
  return documents.flatMap((texts, document) =>
    texts.map((text) => {
      const entry = toTextIndex(text);
      return { documentId: String(document), length: entry.length, index: parseTsvector(tsvectorText(entry)) };
    }),
  );
}

function statisticsOf(chunks: readonly LooseChunk[], terms: readonly string[]): CorpusStatistics {
  return {
    chunks: chunks.length,
    documents: new Set(chunks.map(({ documentId }) => documentId)).size,
    length: chunks.reduce((sum, { length }) => sum + length, 0),
    df: new Map(terms.map((term) => [term, chunks.filter(({ index }) => index.has(term)).length])),
  };
}

function rank(documents: readonly (readonly string[])[], words: readonly string[]) {
  const chunks = chunksOf(documents);
  const part = partOf(chunks, words);
  return rankChunks(
    words.map((term) => ({ term, weight: 1 })),
    [part],
    statisticsOf(chunks, words),
  );
}

describe('BM25', () => {
  test('agrees with the formula worked out by hand', () => {
    // One term in 1 of 4 chunks of the same length, twice: ln(1 + 3.5/1.5) · 2·2.2 / (2 + 1.2).
    const ranking = rank([['harbour harbour'], ['ship boat'], ['ship sail'], ['sail boat']], ['harbour']);
    expect(ranking.found).toBe(1);
    expect(ranking.best(10)).toHaveLength(1);
    expect(ranking.best(10)[0]?.score).toBeCloseTo((Math.log(1 + 3.5 / 1.5) * 2 * 2.2) / (2 + 1.2), 5);
  });

  test('prefers the rarer term, more of it, and the shorter chunk', () => {
    const first = (documents: string[][], words: string[]) => rank(documents, words).best(1)[0]?.number;
    expect(first([['ship'], ['ship'], ['tariff'], ['ship']], ['ship', 'tariff'])).toBe(2);
    expect(first([['tariff a b c'], ['tariff tariff b c'], ['x y']], ['tariff'])).toBe(1);
    expect(first([[`tariff ${'long '.repeat(30)}`], ['tariff here'], ['x y']], ['tariff'])).toBe(1);
  });

  test('counts a document as a whole: words in two chunks of one count together', () => {
    const ranking = rank([['ship'], ['ship', 'tariff'], ['x'], ['y']], ['ship', 'tariff']);
    const candidates = ranking.best(10);
    const scores = ranking.documentScores(candidates);
    const of = (number: number) => scores[candidates.findIndex((one) => one.number === number)] ?? 0;
    expect(of(1)).toBe(of(2));
    expect(of(1)).toBeGreaterThan(of(0));
  });

  test('gives the same whichever parts the corpus lies in', () => {
    const word = fc.constantFrom('ship', 'tariff', 'harbour', 'sail', 'x1', 'y2');
    const documents = fc.array(fc.array(word, { minLength: 1, maxLength: 12 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(documents, fc.nat(), (texts, cut) => {
        const chunks = chunksOf(texts.map((words) => [words.join(' ')]));
        const words = ['ship', 'tariff', 'x1'];
        const terms = words.map((term) => ({ term, weight: 1 }));
        const statistics = statisticsOf(chunks, words);
        const at = cut % (chunks.length + 1);
        const parts: ReadPart[] = [chunks.slice(0, at), chunks.slice(at)].map((some) => partOf(some, words));
        const whole = rankChunks(terms, [partOf(chunks, words)], statistics).best(5);
        const split = rankChunks(terms, parts, statistics).best(5);
        expect(split.map(({ part, number }) => (part === 0 ? number : number + at))).toEqual(
          whole.map(({ number }) => number),
        );
      }),
    );
  });

  test('chooses the same best as sorting everything would', () => {
    const tfs = fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(tfs, fc.integer({ min: 1, max: 40 }), (counts, limit) => {
        const ranking = rank(
          counts.map((count) => [`filler ${'ship '.repeat(count)}`]),
          ['ship'],
        );
        const sorted = counts
          .map((_, number) => ({ number, score: ranking.scoreOf(0, number) }))
          .filter(({ score }) => score > 0)
          .sort((a, b) => b.score - a.score || a.number - b.number);
        expect(ranking.best(limit).map(({ number }) => number)).toEqual(
          sorted.slice(0, limit).map(({ number }) => number),
        );
        expect(ranking.found).toBe(sorted.length);
      }),
    );
  });

  test('stands counts that lag behind: more chunks hold a term than there are', () => {
    expect(inverseDocumentFrequency(12, 10)).toBeGreaterThan(0);
    expect(termSaturation(3, 0, 0)).toBeGreaterThan(0);
    expect(rankChunks([], [], { chunks: 0, documents: 0, length: 0, df: new Map() }).best(5)).toEqual([]);
  });
});

describe("a tsvector's text", () => {
  test('is read back as it was written, whatever its terms hold', () => {
    const lexemes = fc.dictionary(
      fc.string({ minLength: 1, maxLength: 6, unit: fc.constantFrom("'", '\\', ':', ',', ' ', '1', 'a', '数', '😀') }),
      fc.uniqueArray(fc.integer({ min: 1, max: 16_383 }), { minLength: 1, maxLength: 5 }),
      { maxKeys: 6, noNullPrototype: true },
    );
    fc.assert(
      fc.property(lexemes, (terms) => {
        const wanted = new Map(Object.entries(terms));
        expect(parseTsvector(tsvectorText({ lexemes: wanted }))).toEqual(wanted);
      }),
    );
  });

  test('may have weights and terms without positions', () => {
    expect(parseTsvector("'a':1A,12B 'b' 'c d':3")).toEqual(
      new Map([
        ['a', [1, 12]],
        ['b', []],
        ['c d', [3]],
      ]),
    );
  });
});
