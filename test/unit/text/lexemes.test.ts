import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { analyse, lexemes } from '../../../src/kernel/text/lexemes.ts';
import { queryLexemes } from '../../../src/kernel/text/query.ts';

const weightOf = (question: string, term: string): number | undefined =>
  queryLexemes(question).find((found) => found.term === term)?.weight;

describe('lexemes', () => {
  test('stem English and fold case, width and accents', () => {
    expect(lexemes('Running runners RAN naïvely ｒｕｎｓ Straße')).toEqual([
      'run',
      'runner',
      'ran',
      'naiv',
      'run',
      'strass',
    ]);
  });

  test('keep identifiers whole and split them', () => {
    expect(lexemes('getUserName')).toEqual(['getusernam', 'get', 'user', 'name']);
    expect(lexemes('max_retry_count')).toEqual(['max_retry_count', 'max', 'retri', 'count']);
    expect(lexemes('HTTPServer2')).toEqual(['httpserver2', 'http', 'server', '2']);
  });

  test('read numbers as values', () => {
    expect(lexemes('1,190 costs 3.14 in v1.4.5, not 1,2')).toEqual([
      '1190',
      'cost',
      '3.14',
      'in',
      'v1',
      '1',
      '4.5',
      'not',
      '1',
      '2',
    ]);
  });

  test('drop possessives and apostrophes, and split elisions', () => {
    expect(lexemes("Aldmoor's harbour doesn’t l'eau")).toEqual(['aldmoor', 'harbour', 'doesnt', 'leau', 'eau']);
  });

  test('keep the names of languages and emoji', () => {
    expect(lexemes('C++ and C# 🎉')).toEqual(['c++', 'and', 'c#', '🎉']);
  });

  test('give Chinese pairs, single characters and long words', () => {
    expect(lexemes('共和国的')).toEqual(['共', '共和', '和国', '国', '国的', '共和国']);
  });

  test('give Japanese and Korean pairs, and letters of kana alone to nobody', () => {
    expect(lexemes('テスト')).toEqual(['テス', 'スト', 'テスト']);
    expect(lexemes('안녕')).toEqual(['안', '안녕', '녕']);
  });

  test('mix scripts without losing either', () => {
    expect(lexemes('用GPT-4写SQL语句')).toEqual(expect.arrayContaining(['gpt', '4', 'sql', '语句']));
  });

  test('measure length in words, two characters for one', () => {
    expect(analyse('three English words').length).toBe(3);
    expect(analyse('四个汉字').length).toBe(2);
  });

  test('count positions of characters and words, so that no two occurrences of a term share one', () => {
    const seen = analyse('哈哈哈 ha ha').lexemes.map(({ term, position }) => `${term}@${position}`);
    expect(new Set(seen).size).toBe(seen.length);
  });

  test('never throw, never give an empty term, on any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        expect(analyse(text).lexemes.filter(({ term, position }) => term === '' || position < 1)).toEqual([]);
      }),
    );
  });

  test.each([
    ['letters', 'a'.repeat(200_000)],
    ['Chinese characters', '数据'.repeat(100_000)],
    ['capitals and small letters', 'aB'.repeat(100_000)],
    ['apostrophes', "a'".repeat(100_000)],
    ['digits and commas', '1,'.repeat(100_000)],
    ['combining marks', `e${'\u0301'.repeat(100_000)}`],
    ['underscores', '_'.repeat(200_000)],
  ])('take a run of %s in linear time', (_, text) => {
    const before = process.cpuUsage();
    analyse(text);
    const { user, system } = process.cpuUsage(before);
    // Linear work takes a tenth of a second of processor time, quadratic work minutes.
    expect((user + system) / 1_000).toBeLessThan(3_000);
  });
});

describe('query terms', () => {
  test('leave function words out where there is anything else', () => {
    expect(queryLexemes('What is the height of the tower?').map(({ term }) => term)).toEqual(['height', 'tower']);
    expect(queryLexemes('谁是领袖？').map(({ term }) => term)).not.toContain('谁');
  });

  test('keep function words that are all there is', () => {
    expect(queryLexemes('The Who').map(({ term }) => term)).toEqual(['the', 'who']);
    expect(queryLexemes('的').length).toBe(1);
  });

  test('weigh words above their pieces', () => {
    expect(weightOf('共和国', '共和国')).toBe(1);
    expect(weightOf('共和国', '和国')).toBeLessThan(1);
    expect(weightOf('getUserName', 'user')).toBeLessThan(weightOf('getUserName', 'getusernam') ?? 0);
  });

  test('weigh a repeated word by the square root of its number', () => {
    expect(weightOf('harbour, harbours and the harbour', 'harbour')).toBeCloseTo(Math.sqrt(3));
    expect(weightOf('数据', '数据')).toBe(1);
  });

  test('meet the index whatever the segmenter made of the passage', () => {
    const index = new Set(lexemes('在数据库管理系统中'));
    for (const question of ['数据库', '管理系统', '系统', '库']) {
      expect(queryLexemes(question).some(({ term }) => index.has(term))).toBe(true);
    }
  });
});
