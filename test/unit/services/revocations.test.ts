import { describe, expect, test } from 'bun:test';
import { createRevocations, type RevocationsOptions } from '../../../src/services/revocations.ts';
import { createManualClock } from '../../support/manual-clock.ts';

function setUp(options: Partial<Pick<RevocationsOptions, 'truth'>> & { has?: (id: string) => Promise<boolean> } = {}) {
  const clock = createManualClock();
  const asked: string[] = [];
  const marked: [string, number][] = [];
  const revocations = createRevocations({
    clock,
    accessTtlSeconds: 900,
    truth: options.truth ?? (() => Promise.reject(new Error('the database was asked'))),
    marks: {
      mark: async (sessionId, ttlSeconds) => void marked.push([sessionId, ttlSeconds]),
      has(sessionId) {
        asked.push(sessionId);
        return options.has?.(sessionId) ?? Promise.resolve(false);
      },
    },
  });
  return { clock, asked, marked, revocations };
}

describe('an ended session', () => {
  test('is marked for as long as an access token lives, and known here at once', async () => {
    const { revocations, marked, asked } = setUp();
    await revocations.revoke('s');
    expect(marked).toEqual([['s', 900]]);
    expect(await revocations.isRevoked('s')).toBeTrue();
    expect(asked).toEqual([]);
  });

  test('is asked for once in two seconds, however many requests there are', async () => {
    const { revocations, clock, asked } = setUp();
    await Promise.all(Array.from({ length: 10 }, () => revocations.isRevoked('s')));
    clock.advance(1_999);
    await revocations.isRevoked('s');
    expect(asked).toEqual(['s']);
    clock.advance(1);
    await revocations.isRevoked('s');
    expect(asked).toEqual(['s', 's']);
  });

  test('is known by the database where Redis fails', async () => {
    const has = () => Promise.reject(new Error('Redis is away'));
    const { revocations } = setUp({ has, truth: async (sessionId) => sessionId === 'ended' });
    expect(await revocations.isRevoked('ended')).toBeTrue();
    expect(await revocations.isRevoked('live')).toBeFalse();
  });

  test('is known by the database where Redis hangs, after a moment', async () => {
    const { revocations, clock } = setUp({ has: () => new Promise(() => {}), truth: async () => true });
    const answer = revocations.isRevoked('s');
    clock.advance(300);
    expect(await answer).toBeTrue();
  });

  test('is asked for anew after nobody could say', async () => {
    let up = false;
    const has = async () => {
      if (!up) throw new Error('Redis is away');
      return true;
    };
    const { revocations } = setUp({ has });
    await expect(revocations.isRevoked('s')).rejects.toThrow('the database was asked');
    up = true;
    expect(await revocations.isRevoked('s')).toBeTrue();
  });
});
