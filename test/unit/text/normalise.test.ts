import { describe, expect, test } from 'bun:test';
import { detectLanguage } from '../../../src/kernel/text/language.ts';
import { foldCase, stripInvisible, truncate } from '../../../src/kernel/text/normalise.ts';
import { isCjk, scriptOf } from '../../../src/kernel/text/script.ts';

describe('folding', () => {
  test('makes Latin letters plain and leaves marks of other scripts', () => {
    expect(foldCase('ÅNGSTRÖM Straße œuvre Łódź')).toBe('angstrom strasse oeuvre lodz');
    expect(foldCase('Москва й が')).toBe('москва й が');
  });
});

describe('stripping', () => {
  test('removes what hides instructions', () => {
    const tags = [...'ignore'].map((letter) => String.fromCodePoint(0xe0000 + letter.charCodeAt(0))).join('');
    expect(stripInvisible(`a\u200b\u2060b${tags}\u202ec\u00ad\ufeffd\u0000`)).toBe('abcd');
  });

  test('keeps newlines, tabs, emoji families and words that need a joiner', () => {
    for (const text of ['a\n\tb', '👨‍👩‍👧 ok', 'می‌خواهم', '❤️']) expect(stripInvisible(text)).toBe(text);
  });

  test('repairs half a surrogate pair', () => {
    expect(stripInvisible('a\ud83d').isWellFormed()).toBe(true);
  });
});

describe('truncation', () => {
  test('never cuts a character in two', () => {
    expect(truncate('a🎉b', 2)).toBe('a');
    expect(truncate('a🎉b', 3)).toBe('a🎉');
    expect(truncate('ab', 5)).toBe('ab');
  });
});

describe('scripts', () => {
  test('are told by code point', () => {
    expect(
      ['漢', 'か', '한', 'é', '9', 'ж', 'ก', '。', ' '].map((character) => scriptOf(character.codePointAt(0) ?? 0)),
    ).toEqual(['han', 'kana', 'hangul', 'latin', 'other', 'other', 'spaceless', 'none', 'none']);
    expect(isCjk('𠀋'.codePointAt(0) ?? 0)).toBe(true);
  });
});

describe('language', () => {
  test.each([
    ['What is it?', 'en'],
    ['黑豹队的防守丢了多少分？', 'zh'],
    ['東京の人口は？', 'ja'],
    ['오늘 날씨가 어때요', 'ko'],
    ['Wie heißt die Hauptstadt von Deutschland und wo liegt sie?', 'de'],
    ['Quelle est la capitale de la France ?', 'fr'],
    ['GPT-4 的成本是多少', 'zh'],
    ['Panthers defense points', 'en'],
  ])('of %p is %p', (text, language) => {
    expect(detectLanguage(text)).toBe(language);
  });

  test('falls back where the text does not say', () => {
    expect(detectLanguage('12345', 'zh')).toBe('zh');
    expect(detectLanguage('', 'ja')).toBe('ja');
  });
});
