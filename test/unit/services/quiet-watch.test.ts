import { expect, test } from 'bun:test';
import { createQuietWatch } from '../../../src/services/quiet-watch.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const QUIET_MS = 3_000;

function watching() {
  const clock = createManualClock();
  const quietOf = createQuietWatch({ clock, quietMs: QUIET_MS });
  return { clock, quietOf: (sizes: Record<string, number>) => [...quietOf(new Map(Object.entries(sizes)))] };
}

test('tells what has not changed for long enough', () => {
  const { clock, quietOf } = watching();
  expect(quietOf({ a: 300 })).toEqual([]);
  clock.advance(QUIET_MS);
  expect(quietOf({ a: 301 })).toEqual([]);
  clock.advance(QUIET_MS - 1);
  expect(quietOf({ a: 301 })).toEqual([]);
  clock.advance(1);
  expect(quietOf({ a: 301 })).toEqual(['a']);
  expect(quietOf({ a: 302 })).toEqual([]);
});

test('looks at each by itself', () => {
  const { clock, quietOf } = watching();
  quietOf({ a: 300, b: 400 });
  clock.advance(QUIET_MS);
  expect(quietOf({ a: 300, b: 401, c: 1 })).toEqual(['a']);
});

test('forgets what it is not asked about', () => {
  const { clock, quietOf } = watching();
  quietOf({ a: 300 });
  clock.advance(QUIET_MS);
  quietOf({});
  expect(quietOf({ a: 300 })).toEqual([]);
});
