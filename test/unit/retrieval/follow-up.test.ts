import { describe, expect, test } from 'bun:test';
import { isFollowUp, standaloneQuery } from '../../../src/retrieval/follow-up.ts';

const said = (...contents: string[]) =>
  contents.map((content, index) => ({ role: index % 2 === 0 ? ('user' as const) : ('assistant' as const), content }));

describe('a question', () => {
  test.each([
    ['And in 2023?', true],
    ['Why?', true],
    ['Who wrote it and when was that published first?', true],
    ['它的首都在哪里，人口有多少？', true],
    ['那么价格呢？', true],
    ['How many days of leave do new employees have?', false],
    ['公司新员工每年有多少天带薪年假？', false],
  ])('%s leans on the talk before it: %p', (question, expected) => {
    expect(isFollowUp(question)).toBe(expected);
  });

  test('that stands by itself is looked for as it is', () => {
    const history = said('What does the harbour charge?', 'Two coins.');
    const question = 'How many days of leave do new employees have?';
    expect(standaloneQuery(question, history)).toBe(question);
  });

  test('that does not takes along the latest one that does, past others that lean too', () => {
    const history = said('How high is the harbour tariff in Genoa?', 'Two coins.', 'And in 2023?', 'Three.');
    expect(standaloneQuery('Why?', history)).toBe('Why?\nHow high is the harbour tariff in Genoa?\nWhy?');
  });

  test('without a talk, or the same again, stays as it is; and none is too long or torn', () => {
    expect(standaloneQuery(' Why? ', [])).toBe('Why?');
    expect(standaloneQuery('Why?', said('Why?', 'Because.'))).toBe('Why?');
    const long = standaloneQuery('Why?', said(`How long are harbours? ${'😀'.repeat(3_000)}`, 'Long.'));
    expect(long.length).toBeLessThanOrEqual(2_000);
    expect(long.isWellFormed()).toBeTrue();
  });
});
