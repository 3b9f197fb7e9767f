import { expect, test } from 'bun:test';
import { createLru } from '../../../src/kernel/lru.ts';

test('forgets what was used least recently, by size', () => {
  const lru = createLru<string, number>(10);
  lru.set('a', 1, 4);
  lru.set('b', 2, 4);
  expect(lru.get('a')).toBe(1);
  lru.set('c', 3, 4);
  expect([lru.get('a'), lru.get('b'), lru.get('c')]).toEqual([1, undefined, 3]);
  expect(lru.size).toBe(8);
});

test('counts a value that is set again once, and keeps nothing that is larger than all of it', () => {
  const lru = createLru<string, number>(10);
  for (let n = 0; n < 5; n += 1) lru.set('a', n, 6);
  expect([lru.get('a'), lru.size]).toEqual([4, 6]);
  lru.set('b', 1, 11);
  expect([lru.get('b'), lru.get('a')]).toEqual([undefined, 4]);
  lru.set('a', 9, 11);
  expect([lru.get('a'), lru.size]).toEqual([undefined, 0]);
});
