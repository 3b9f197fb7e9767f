import { describe, expect, test } from 'bun:test';
import type { Waiting } from '../../../src/repositories/lexical-segments.ts';
import { createQuietWatch } from '../../../src/services/lexical-compactor.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const QUIET_MS = 3_000;

function watching() {
  const clock = createManualClock();
  const ripeOf = createQuietWatch({ clock, quietMs: QUIET_MS, most: 8_192 });
  const of = (tenantId: string, loose: number, privateTo: string | null = null) =>
    ({ tenantId, privateTo, loose }) as Waiting;
  return { clock, ripeOf, of };
}

describe('the wait for a load to end', () => {
  test('ends once an audience has been quiet', () => {
    const { clock, ripeOf, of } = watching();
    expect(ripeOf([of('a', 300)])).toEqual([]);
    clock.advance(QUIET_MS);
    expect(ripeOf([of('a', 301)])).toEqual([]);
    clock.advance(QUIET_MS - 1);
    expect(ripeOf([of('a', 301)])).toEqual([]);
    clock.advance(1);
    expect(ripeOf([of('a', 301)])).toEqual([of('a', 301)]);
  });

  test('ends when there is enough for a whole segment, and is none for a segment that is half gone', () => {
    const { ripeOf, of } = watching();
    expect(ripeOf([of('a', 8_191), of('b', 8_192), of('c', 0)])).toEqual([of('b', 8_192), of('c', 0)]);
  });

  test('is each audience’s own', () => {
    const { clock, ripeOf, of } = watching();
    ripeOf([of('a', 300), of('a', 400, 'owner')]);
    clock.advance(QUIET_MS);
    expect(ripeOf([of('a', 300), of('a', 401, 'owner')])).toEqual([of('a', 300)]);
  });
});
