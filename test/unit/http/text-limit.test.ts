import { describe, expect, test } from 'bun:test';
import { createTextLimit } from '../../../src/http/openai/text-limit.ts';
import { estimateTokens } from '../../../src/kernel/text/tokens.ts';

/** What is told of a text that comes in pieces, and why it ends. */
function told(pieces: readonly string[], options: { maxTokens?: number; stop?: string[] }) {
  const limit = createTextLimit({ stop: [], ...options });
  let all = '';
  for (const piece of pieces) {
    const { text, end } = limit.push(piece);
    all += text;
    if (end) return { text: all, end };
  }
  return { text: all + limit.rest(), end: undefined };
}

describe('an answer', () => {
  test('without limits is told as it comes', () => {
    expect(told(['You have ', '30 days.'], {})).toEqual({ text: 'You have 30 days.', end: undefined });
  });

  test.each([
    [['You have 30 days.'], ['30'], 'You have '],
    [['You have 3', '0 days.'], ['30'], 'You have '],
    [['a', 'b', 'c', 'd', 'e'], ['cd'], 'ab'],
    [['abcabd'], ['abd', 'x'], 'abc'],
    [['one, two; three'], [';', ','], 'one'],
  ])('%j ends before %j', (pieces, stop, text) => {
    expect(told(pieces, { stop })).toEqual({ text, end: 'stop' });
  });

  test('that only seems to say a stop word is told whole', () => {
    expect(told(['You have 3', '1 day', 's3'], { stop: ['30'] })).toEqual({
      text: 'You have 31 days3',
      end: undefined,
    });
  });

  test('ends after so many tokens, on a whole character', () => {
    const pieces = ['You have thirty days of leave. ', '🦊'.repeat(50)];
    for (const maxTokens of [1, 5, 20]) {
      const { text, end } = told(pieces, { maxTokens });
      expect(end).toBe('length');
      expect(estimateTokens(text)).toBeLessThanOrEqual(maxTokens);
      expect(text.isWellFormed()).toBe(true);
      expect(pieces.join('').startsWith(text)).toBe(true);
    }
  });
});
