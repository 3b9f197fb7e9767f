import { expect, test } from 'bun:test';
import { isUuid, laterThan, systemIds } from '../../../src/kernel/ids.ts';

test('an id sorts behind those before it, whatever the clock said that made them', () => {
  const now = systemIds.uuid();
  expect(laterThan(now, [])).toBe(now);
  expect(laterThan(now, ['00000000-0000-7000-8000-000000000000'])).toBe(now);
  const ahead = 'f1a202af-ffff-7fff-8fff-ffffffffffff';
  const next = laterThan(now, [ahead, now]);
  expect(next > ahead).toBe(true);
  expect(isUuid(next)).toBe(true);
  expect(laterThan(now, [next]) > next).toBe(true);
});
