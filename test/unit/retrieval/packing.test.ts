import { describe, expect, test } from 'bun:test';
import { estimateTokens } from '../../../src/kernel/text/tokens.ts';
import { type Packable, packPassages } from '../../../src/retrieval/packing.ts';

let serial = 0;
const hit = (change: Partial<Packable> & { text: string }): Packable => {
  serial += 1;
  return { document_id: `d${serial}`, start: 0, end: change.text.length, score: 0.5, ...change };
};
const prose = (topic: string, sentences: number): string =>
  Array.from({ length: sentences }, (_, index) => `The ${topic} number ${index} is described here at length.`).join(
    ' ',
  );
const pack = (hits: Packable[], budgetTokens = 4_000, max?: number) =>
  packPassages(hits, { budgetTokens, countTokens: estimateTokens, ...(max && { max }) });

describe('packing', () => {
  test('keeps the order of scores and the budget', () => {
    const hits = ['harbour', 'castle', 'mill', 'bridge', 'tower'].map((topic, index) =>
      hit({ text: prose(topic, 12), score: 1 - index * 0.1 }),
    );
    const packed = pack(hits, 600);
    expect(packed.length).toBeGreaterThan(1);
    expect(packed.map(({ hit: { score } }) => score)).toEqual(
      packed.map(({ hit: { score } }) => score).toSorted((a, b) => b - a),
    );
    expect(packed.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(600);
  });

  test('takes overlapping chunks of a document once, and copies elsewhere once', () => {
    const text = prose('harbour', 6);
    const first = hit({ document_id: 'a', start: 0, end: 400, text, score: 1 });
    const overlapping = hit({ document_id: 'a', start: 150, end: 550, text: prose('harbour', 5), score: 0.9 });
    const copy = hit({ document_id: 'b', text, score: 0.8 });
    const other = hit({ document_id: 'a', start: 900, end: 1300, text: prose('castle', 6), score: 0.7 });
    expect(pack([first, overlapping, copy, other]).map((packed) => packed.hit)).toEqual([first, other]);
  });

  test('takes passages that differ in one number both', () => {
    const invoices = [
      hit({ text: 'Invoice of the harbour: 300 euros.', score: 0.9 }),
      hit({ text: 'Invoice of the harbour: 500 euros.', score: 0.8 }),
    ];
    expect(pack(invoices)).toHaveLength(2);
  });

  test('prefers another document when scores are close', () => {
    const same = [0, 1, 2].map((index) =>
      hit({
        document_id: 'a',
        start: index * 1000,
        end: index * 1000 + 500,
        text: prose(`part${index} alpha`, 5),
        score: 0.9 - index * 0.01,
      }),
    );
    const other = hit({ document_id: 'b', text: prose('castle', 5), score: 0.87 });
    expect(pack([...same, other], 4_000, 2).map((packed) => packed.hit.document_id)).toEqual(['a', 'b']);
  });

  test('cuts the last passage at a sentence where only a part fits', () => {
    const [packed] = pack([hit({ text: prose('harbour', 60) })], 200);
    expect(packed?.text).toEndWith('at length.');
    expect(packed?.tokens).toBeLessThanOrEqual(200);
  });

  test('removes what a reader cannot see, and passages of nothing else', () => {
    const packed = pack([hit({ text: 'visible\u200b text\u{e0041}', score: 1 }), hit({ text: '\u200b\u{e0041}' })]);
    expect(packed.map(({ text }) => text)).toEqual(['visible text']);
  });

  test('packs nothing into nothing', () => {
    expect(pack([])).toEqual([]);
    expect(pack([hit({ text: prose('harbour', 3) })], 10)).toEqual([]);
  });
});
