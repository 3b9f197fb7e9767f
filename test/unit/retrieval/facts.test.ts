import { describe, expect, test } from 'bun:test';
import { weighFacts } from '../../../src/retrieval/facts.ts';

const keysOf = (question: string, ...stored: [string, unknown][]) =>
  weighFacts(
    stored.map(([key, value]) => ({ key, value })),
    question,
  ).map(({ key, share }) => [key, Math.round(share * 100) / 100]);

describe('facts', () => {
  test('that hold more of the question come first, by the words of key and value', () => {
    expect(
      keysOf(
        'What is my favourite colour?',
        ['team', 'red'],
        ['favourite_colour', 'green'],
        ['colour', 'blue'],
        ['favouriteColour', 'black'],
      ),
    ).toEqual([
      ['favourite_colour', 1],
      ['favouriteColour', 1],
      ['colour', 0.5],
      ['team', 0],
    ]);
    expect(keysOf('我住在哪个城市？', ['喜欢', '猫'], ['城市', '北京'])[0]?.[0]).toBe('城市');
  });

  test('keep the order they came in where they hold as much', () => {
    expect(keysOf('Anything?', ['b', 1], ['a', 2], ['c', 3]).map(([key]) => key)).toEqual(['b', 'a', 'c']);
  });

  test('are told in words and as JSON, whatever they hold', () => {
    const value = { home_city: 'Beijing', pets: ['cat', 'dog'], age: 41, car: null };
    const [fact] = weighFacts([{ key: 'about.me', value }], 'x');
    expect(fact).toMatchObject({
      name: 'about me',
      text: 'home city: Beijing, pets: cat, dog, age: 41, car: null',
      value: JSON.stringify(value),
    });
  });
});
