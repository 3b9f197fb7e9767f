import { describe, expect, test } from 'bun:test';
import { SignJWT, UnsecuredJWT } from 'jose';
import { createAccessTokens } from '../../../src/http/plugins/jwt.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { principal, SECRET } from '../../support/http-app.ts';

const key = (secret: string) => new TextEncoder().encode(secret);
const tokens = createAccessTokens({ secrets: [SECRET], clock: systemClock });
const soon = () => Math.floor(Date.now() / 1000) + 600;
const claims = { sub: principal.userId, tid: principal.tenantId, role: principal.role, sid: principal.sessionId };

/** A token that is right in everything, but for what a test changes. */
function forge({ alg = 'HS256', secret = SECRET, payload = {}, drop = [] as string[] }): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const all: Record<string, unknown> = {
    iss: 'dreamhub',
    aud: 'dreamhub-api',
    iat: now,
    exp: soon(),
    ...claims,
    ...payload,
  };
  for (const name of drop) delete all[name];
  return new SignJWT(all).setProtectedHeader({ alg }).sign(key(secret));
}

describe('access tokens', () => {
  test('give back the principal that was signed', async () => {
    const before = Math.floor(Date.now() / 1000) * 1000;
    const verified = await tokens.verify(await tokens.sign(principal, 900));
    expect(verified).toMatchObject(principal);
    expect(verified?.expiresAt).toBeGreaterThanOrEqual(before + 900_000);
  });

  test('that are forged alike in everything are taken, so that the refusals below mean something', async () => {
    expect(await tokens.verify(await forge({}))).toMatchObject(principal);
  });

  test.each([
    ['another algorithm', { alg: 'HS512' }],
    ['another secret', { secret: 'another secret of thirty-two bytes or more' }],
    ['another issuer', { payload: { iss: 'somebody' } }],
    ['another audience', { payload: { aud: 'something' } }],
    ['an expiry that has passed', { payload: { exp: Math.floor(Date.now() / 1000) - 1 } }],
    ['an age beyond the maximum', { payload: { iat: Math.floor(Date.now() / 1000) - 86_500 } }],
    ['an issue in the future', { payload: { iat: Math.floor(Date.now() / 1000) + 500 } }],
    ['an unknown role', { payload: { role: 'root' } }],
    ['a tenant that is no id', { payload: { tid: "' or true --" } }],
    ['a user that is no id', { payload: { sub: 'ada' } }],
    ['no expiry', { drop: ['exp'] }],
    ['no time of issue', { drop: ['iat'] }],
    ['no issuer', { drop: ['iss'] }],
    ['no audience', { drop: ['aud'] }],
    ['no user', { drop: ['sub'] }],
    ['no tenant', { drop: ['tid'] }],
    ['no role', { drop: ['role'] }],
    ['no session', { drop: ['sid'] }],
  ])('with %s are refused', async (_what, change) => {
    expect(await tokens.verify(await forge(change))).toBeNull();
  });

  test('without a signature are refused', async () => {
    const unsigned = new UnsecuredJWT({
      iss: 'dreamhub',
      aud: 'dreamhub-api',
      iat: soon() - 600,
      exp: soon(),
      ...claims,
    });
    expect(await tokens.verify(unsigned.encode())).toBeNull();
  });

  test.each(['', 'a', 'a.b.c', 'x'.repeat(5_000)])('that are no tokens are refused', async (text) => {
    expect(await tokens.verify(text)).toBeNull();
  });

  test('expire by the injected clock', async () => {
    let now = Date.now();
    const timed = createAccessTokens({ secrets: [SECRET], clock: { ...systemClock, now: () => now } });
    const token = await timed.sign(principal, 60);
    now += 59_000;
    expect(await timed.verify(token)).not.toBeNull();
    now += 2_000;
    expect(await timed.verify(token)).toBeNull();
  });

  test('that were proven once still end at the maximum age, whatever they say', async () => {
    let now = Date.now();
    const timed = createAccessTokens({ secrets: [SECRET], clock: { ...systemClock, now: () => now } });
    const token = await forge({ payload: { exp: soon() + 1_000_000 } });
    expect(await timed.verify(token)).not.toBeNull();
    now += 86_300_000;
    expect(await timed.verify(token)).not.toBeNull();
    now += 200_000;
    expect(await timed.verify(token)).toBeNull();
  });

  test('that differ in a character of their signature from a proven one are refused', async () => {
    const token = await tokens.sign(principal, 60);
    expect(await tokens.verify(token)).not.toBeNull();
    const other = token.at(-5) === 'A' ? 'B' : 'A';
    expect(await tokens.verify(token.slice(0, -5) + other + token.slice(-4))).toBeNull();
  });

  test('are signed with the first secret and verified with all', async () => {
    const other = 'an older secret, of thirty-two bytes or more';
    const old = createAccessTokens({ secrets: [other], clock: systemClock });
    const rotated = createAccessTokens({ secrets: [SECRET, other], clock: systemClock });
    expect(await rotated.verify(await old.sign(principal, 60))).toMatchObject(principal);
    expect(await tokens.verify(await rotated.sign(principal, 60))).toMatchObject(principal);
    expect(await old.verify(await rotated.sign(principal, 60))).toBeNull();
  });

  test('are not made from a short secret, or none', () => {
    expect(() => createAccessTokens({ secrets: ['x'.repeat(31)], clock: systemClock })).toThrow('32 bytes');
    expect(() => createAccessTokens({ secrets: [], clock: systemClock })).toThrow('secret');
  });

  test('are not made to outlive the maximum age', async () => {
    await expect(tokens.sign(principal, 86_401)).rejects.toThrow('maximum age');
  });
});
