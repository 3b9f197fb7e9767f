import { describe, expect, test } from 'bun:test';
import { queryLexemes } from '../../../src/kernel/text/query.ts';
import { toTextIndex } from '../../../src/kernel/text/tsvector.ts';
import { type Looked, weighEvidence } from '../../../src/retrieval/lexical-evidence.ts';

const looked = (id: string, text: string | null, score: number, rest: Partial<Looked> = {}): Looked => ({
  id,
  score,
  documentScore: score,
  neighbourScore: 0,
  kind: 'prose',
  index: text === null ? null : toTextIndex(text).lexemes,
  ...rest,
});
const order = (query: string, candidates: Looked[]) =>
  weighEvidence(queryLexemes(query), candidates, () => 1).map(({ id }) => id);

describe('the second look', () => {
  test('puts a passage first whose words stand together', () => {
    const apart = 'The harbour is old and large and full of ships from far away that pay no tariff.';
    expect(
      order('harbour tariff', [looked('apart', apart, 9), looked('together', 'The harbour tariff is low.', 8.8)]),
    ).toEqual(['together', 'apart']);
  });

  test('sees inside words what no stem joins', () => {
    const candidates = [looked('a', 'Nothing of the kind.', 5), looked('b', 'A microscopically small thing.', 5)];
    expect(order('microscope lens', candidates)).toEqual(['b', 'a']);
  });

  test('changes no order where there is one short term', () => {
    expect(order('port', [looked('a', 'port', 5), looked('b', 'port port', 2)])).toEqual(['a', 'b']);
  });

  test('lets the document speak for its chunk, and in talk the neighbours too', () => {
    const alone = looked('alone', null, 10, { documentScore: 10 });
    expect(order('x', [alone, looked('backed', null, 9, { documentScore: 20 })])).toEqual(['backed', 'alone']);
    const talk = { kind: 'talk' as const, documentScore: 10 };
    const turns = [looked('alone', null, 10, talk), looked('amid', null, 9, { ...talk, neighbourScore: 9 })];
    expect(order('x', turns)).toEqual(['amid', 'alone']);
    expect(
      order(
        'x',
        turns.map((one) => ({ ...one, kind: 'prose' as const })),
      ),
    ).toEqual(['alone', 'amid']);
  });

  test('lets no single pair of a long question outweigh its other words', () => {
    const question = 'harbour tariff ship weight crew cargo captain anchor storm voyage';
    const most = 'Captain and anchor; crew, cargo. A ship of weight: a voyage, a storm.';
    const pair = 'The harbour tariff.';
    expect(order(question, [looked('most', most, 16), looked('pair', pair, 14.5)])).toEqual(['most', 'pair']);
  });

  test('keeps scores in [0, 1], also for nothing', () => {
    const scores = weighEvidence(
      queryLexemes('harbour tariff'),
      [looked('a', 'harbour tariff', 3), looked('b', null, 2)],
      () => 2,
    ).map(({ score }) => score);
    expect(scores.every((score) => score > 0 && score <= 1)).toBeTrue();
    expect(weighEvidence([], [], () => 1)).toEqual([]);
  });
});
