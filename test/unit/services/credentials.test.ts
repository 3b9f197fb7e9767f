import { describe, expect, test } from 'bun:test';
import { hashOfToken, isApiKey, looksLikeApiKey, newApiKey } from '../../../src/services/credentials.ts';

describe('an API key', () => {
  test('has a form of its own, is never the same, and begins as it says', () => {
    const keys = Array.from({ length: 200 }, newApiKey);
    expect(new Set(keys.map(({ key }) => key)).size).toBe(200);
    for (const { key, prefix, hash } of keys) {
      expect(key).toMatch(/^dhk_[0-9A-Za-z]{49}$/);
      expect(isApiKey(key) && looksLikeApiKey(key)).toBeTrue();
      expect(key.slice(0, 12)).toBe(prefix);
      expect(Buffer.from(hash).equals(Buffer.from(hashOfToken(key)))).toBeTrue();
    }
  });

  test('with any one character changed is none', () => {
    const { key } = newApiKey();
    for (let at = 0; at < key.length; at++) {
      const changed = key.slice(0, at) + (key[at] === 'x' ? 'y' : 'x') + key.slice(at + 1);
      expect([at, isApiKey(changed)]).toEqual([at, false]);
    }
  });
});
