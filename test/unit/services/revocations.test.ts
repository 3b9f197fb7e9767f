import { describe, expect, test } from 'bun:test';
import type { Principal } from '../../../src/contracts/index.ts';
import type { SessionMarks } from '../../../src/redis/session-marks.ts';
import { createRevocations, type RevocationsOptions } from '../../../src/services/revocations.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const NOTHING = { ended: false, changed: false };

function setUp({ look, truth }: { look?: SessionMarks['look']; truth?: RevocationsOptions['truth'] } = {}) {
  const clock = createManualClock();
  const asked: string[] = [];
  const marked: [string, number][] = [];
  const revocations = createRevocations({
    clock,
    accessTtlSeconds: 900,
    truth: truth ?? (() => Promise.reject(new Error('the database was asked'))),
    marks: {
      markEnded: async (sessionId, ttlSeconds) => void marked.push([sessionId, ttlSeconds]),
      markChanged: async (userId, ttlSeconds) => void marked.push([userId, ttlSeconds]),
      look(session) {
        asked.push(session.sessionId);
        return look?.(session) ?? Promise.resolve(NOTHING);
      },
    },
  });
  return { clock, asked, marked, revocations };
}

const who = (sessionId = 's'): Principal => ({ sessionId, tenantId: 't', userId: 'u', role: 'admin', expiresAt: 1e9 });

describe('an ended session', () => {
  test('is marked for as long as an access token lives, and known here at once', async () => {
    const { revocations, marked, asked } = setUp();
    await revocations.revoke(who());
    expect(marked).toEqual([['s', 900]]);
    expect(await revocations.confirm(who())).toBeNull();
    expect(asked).toEqual([]);
  });

  test('is asked for once in two seconds, however many requests there are', async () => {
    const { revocations, clock, asked } = setUp();
    await Promise.all(Array.from({ length: 10 }, () => revocations.confirm(who())));
    clock.advance(1_999);
    expect(await revocations.confirm(who())).toEqual(who());
    expect(asked).toEqual(['s']);
    clock.advance(1);
    await revocations.confirm(who());
    expect(asked).toEqual(['s', 's']);
  });

  test('is known by the database where Redis fails', async () => {
    const look = () => Promise.reject(new Error('Redis is away'));
    const { revocations } = setUp({
      look,
      truth: async ({ sessionId }) => (sessionId === 'ended' ? undefined : 'admin'),
    });
    expect(await revocations.confirm(who('ended'))).toBeNull();
    expect(await revocations.confirm(who('live'))).toEqual(who('live'));
  });

  test('is known by the database where Redis hangs, after a moment', async () => {
    const { revocations, clock } = setUp({ look: () => new Promise(() => {}), truth: async () => undefined });
    const answer = revocations.confirm(who());
    clock.advance(300);
    expect(await answer).toBeNull();
  });

  test('is asked for anew after nobody could say', async () => {
    let up = false;
    const look = async () => {
      if (!up) throw new Error('Redis is away');
      return { ended: true, changed: false };
    };
    const { revocations } = setUp({ look });
    await expect(revocations.confirm(who())).rejects.toThrow('the database was asked');
    up = true;
    expect(await revocations.confirm(who())).toBeNull();
  });
});

describe('a user who has changed', () => {
  const changed = async () => ({ ended: false, changed: true });

  test('is marked for longer than a token that is being signed at this moment lives', async () => {
    const { revocations, marked } = setUp();
    await revocations.changing('u');
    expect(marked).toEqual([['u', 960]]);
  });

  test('is not to be changed where no mark can be kept', async () => {
    const marks = {
      markEnded: () => Promise.reject(new Error('Redis is away')),
      markChanged: () => Promise.reject(new Error('Redis is away')),
      look: () => Promise.reject(new Error('Redis is away')),
    };
    const clock = createManualClock();
    const revocations = createRevocations({ clock, accessTtlSeconds: 900, truth: async () => 'admin', marks });
    await expect(revocations.changing('u')).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(revocations.revoke(who())).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await revocations.confirm(who())).toBeNull();
  });

  test('is what the database says, whatever the token says', async () => {
    const { revocations } = setUp({ look: changed, truth: async () => 'viewer' });
    expect(await revocations.confirm(who())).toEqual({ ...who(), role: 'viewer' });
  });

  test('is over where the membership is gone', async () => {
    const { revocations } = setUp({ look: changed, truth: async () => undefined });
    expect(await revocations.confirm(who())).toBeNull();
  });

  test('is asked for anew once the order to end was heard, and nobody else is', async () => {
    const { revocations, asked } = setUp();
    const others = [
      { ...who('2'), userId: 'another' },
      { ...who('3'), tenantId: 'elsewhere' },
    ];
    for (const one of [who(), ...others]) await revocations.confirm(one);
    revocations.forget({ kind: 'user', tenantId: 't', id: 'u' });
    for (const one of [who(), ...others]) await revocations.confirm(one);
    expect(asked).toEqual(['s', '2', '3', 's']);
    revocations.forget({ kind: 'session', tenantId: 't', id: '2' });
    revocations.forget({ kind: 'tenant', tenantId: 'elsewhere' });
    for (const one of [who(), ...others]) await revocations.confirm(one);
    expect(asked).toEqual(['s', '2', '3', 's', '2', '3']);
  });

  test('is not believed to be what was read before the change, though the answer comes after it', async () => {
    const old = Promise.withResolvers<'admin'>();
    const answers = [old.promise, Promise.resolve('viewer' as const)];
    const { revocations } = setUp({
      look: changed,
      truth: () => answers.shift() ?? Promise.reject(new Error('again')),
    });
    const early = revocations.confirm(who());
    await Promise.resolve();
    revocations.forget({ kind: 'user', tenantId: 't', id: 'u' });
    const late = revocations.confirm(who());
    old.resolve('admin');
    await early;
    expect((await late)?.role).toBe('viewer');
    expect((await revocations.confirm(who()))?.role).toBe('viewer');
  });
});
