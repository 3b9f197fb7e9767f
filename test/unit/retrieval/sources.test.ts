import { describe, expect, test } from 'bun:test';
import {
  type CitablePassage,
  recheck,
  sourceFor,
  sourcesOf,
  unsupportedNotice,
} from '../../../src/retrieval/sources.ts';

const chunk = (id: string, text: string, start = 0) => ({ chunk_id: id, page: 2, start, text });
const passage = (n: number, first: ReturnType<typeof chunk>, ...rest: ReturnType<typeof chunk>[]): CitablePassage => ({
  n,
  document_id: `d${n}`,
  version: 3,
  title: `T${n}`,
  chunks: [first, ...rest],
});

const tariff = passage(1, chunk('a', 'Ships like it here. The harbour tariff is two coins. Nobody minds.', 100));
const lantern = passage(2, chunk('b', 'Lanterns burn at night. They are lit at six.', 500));

describe('the sources of an answer', () => {
  test('are what it cites, quoted where they support the claim, with places in the document', () => {
    const [first, second, ...rest] = sourcesOf('Lanterns are lit at six [2]. The tariff is two coins [1].', [
      tariff,
      lantern,
    ]);
    expect(rest).toEqual([]);
    expect(first).toMatchObject({ n: 2, quote: lantern.chunks[0].text, start: 500, verified: true, page: 2 });
    expect(second).toMatchObject({
      n: 1,
      quote: 'The harbour tariff is two coins.',
      start: 120,
      end: 152,
      verified: true,
    });
  });

  test('come from the neighbouring chunk where that holds the claim', () => {
    const wide = passage(1, chunk('a', 'The harbour is old.'), chunk('next', 'Its tariff is two coins.', 40));
    expect(sourceFor(wide, 'The tariff is two coins.')).toMatchObject({
      chunk_id: 'next',
      start: 40,
      quote: 'Its tariff is two coins.',
    });
  });

  test('are not verified where the answer quotes what does not stand there', () => {
    const says = (quote: string) => sourcesOf(`It says “${quote}” [1].`, [tariff])[0]?.verified;
    expect(says('The harbour tariff is two coins.')).toBeTrue();
    expect(says('The harbour tariff is nine coins.')).toBeFalse();
    // Written otherwise, they are the same words.
    const told = passage(
      1,
      chunk('a', 'He said: don’t  pay “two coins” — pay １２, not\nmore. 他说：不要支付两枚硬币。'),
    );
    const repeats = (quote: string) => sourcesOf(`It says ${quote} [1].`, [told])[0]?.verified;
    expect(repeats('“Don\'t pay "two coins" - pay 12, not more”')).toBeTrue();
    expect(repeats('"don’t pay ‘two coins’ – pay 12"')).toBeFalse();
    expect(repeats('「不要支付两枚硬币」')).toBeTrue();
    expect(repeats('「不要支付三枚硬币」')).toBeFalse();
  });

  test('of an answer that cites none are those that hold most of a sentence; none where none does', () => {
    expect(sourcesOf('The harbour tariff is two coins.', [tariff, lantern]).map(({ n }) => n)).toEqual([1]);
    expect(sourcesOf('Whales sing in the deep ocean all winter.', [tariff, lantern])).toEqual([]);
    expect(sourcesOf('As [7] says, whales sing.', [tariff])).toEqual([]);
    // One word that they share is no support.
    expect(sourcesOf('Two.', [tariff, lantern])).toEqual([]);
    expect(sourcesOf('\\[six\\]', [tariff, lantern])).toEqual([]);
  });

  test('are held against what is stored: what is gone loses its quote, what differs its word', () => {
    const [second, first] = sourcesOf('Lanterns are lit at six [2]. The tariff is two coins [1].', [tariff, lantern]);
    if (!first || !second) throw new Error('there are no sources');
    const stored = new Map([['a', 'The harbour tariff was raised.']]);
    const checked = recheck([{ ...second, state: 'deleted' }, first], stored);
    // A chunk that made room for a newer version's stands in the text that is kept; where none is kept, nobody can tell.
    for (const state of ['replaced', 'unavailable', 'current'] as const) {
      const [later] = recheck([{ ...second, state }], stored);
      expect(later).toEqual({ ...second, state, verified: state === 'replaced' });
    }
    expect(checked.map(({ n, quote, verified }) => [n, quote, verified])).toEqual([
      [2, '', false],
      [1, 'The harbour tariff is two coins.', false],
    ]);
    const same = recheck(
      [second, first],
      new Map([tariff, lantern].map(({ chunks: [{ chunk_id, text }] }) => [chunk_id, text])),
    );
    expect(same).toEqual([second, first]);
  });

  test('that are none are told of in the language of the question', () => {
    expect(unsupportedNotice('zh')).toContain('没有支持');
    expect(unsupportedNotice('de')).toContain('No passage');
  });
});
