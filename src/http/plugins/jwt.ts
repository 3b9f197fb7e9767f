/**
 * Access tokens over `@elysiajs/jwt`. By itself that plugin takes any HMAC algorithm, a token without `exp`, any issuer and
 * audience, and a one-letter secret; everything that makes a token trustworthy is demanded here.
 */
import { jwt } from '@elysiajs/jwt';
import type { AccessTokens, Principal } from '../../contracts/index.ts';
import { ROLES, type Role } from '../../contracts/index.ts';
import type { Clock } from '../../kernel/clock.ts';
import { AppError } from '../../kernel/errors.ts';
import { isUuid } from '../../kernel/ids.ts';

export interface AccessTokensOptions {
  /** The first signs, all verify: a new one is put first, and the old one is dropped when its tokens have expired. */
  secrets: readonly string[];
  clock: Clock;
  issuer?: string;
  audience?: string;
  /** A token that was issued longer ago is refused, whatever its `exp` says. */
  maxAgeSeconds?: number;
}

const ALGORITHM = 'HS256';
const MIN_SECRET_BYTES = 32;
/** Longer is no token of ours, and is not worth hashing. */
const MAX_TOKEN_LENGTH = 2_048;
const REQUIRED_CLAIMS = ['exp', 'iat', 'sub', 'tid', 'role', 'sid'];

/** A full memory is emptied: checking anew is cheap, keeping track of age is not. */
const MOST_REMEMBERED = 5_000;

interface Proven {
  principal: Principal;
  /** Milliseconds since the epoch. */
  until: number;
}

function isRole(value: unknown): value is Role {
  return ROLES.some((role) => role === value);
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && isUuid(value);
}

export function createAccessTokens({
  secrets,
  clock,
  issuer = 'dreamhub',
  audience = 'dreamhub-api',
  maxAgeSeconds = 86_400,
}: AccessTokensOptions): AccessTokens {
  if (secrets.some((secret) => Buffer.byteLength(secret) < MIN_SECRET_BYTES)) {
    throw new AppError('internal', `Each JWT secret needs at least ${MIN_SECRET_BYTES} bytes.`);
  }
  const signers = secrets.map(
    (secret) => jwt({ name: 'jwt', secret, alg: ALGORITHM, iss: issuer, aud: audience }).decorator.jwt,
  );
  const [first] = signers;
  if (!first) throw new AppError('internal', 'A JWT secret is needed.');

  /** Tokens whose signature and claims were checked, so that each is checked once and not by every request. */
  const proven = new Map<string, Proven>();

  async function prove(token: string): Promise<Proven | null> {
    if (token.length > MAX_TOKEN_LENGTH) return null;
    const options = {
      algorithms: [ALGORITHM],
      issuer,
      audience,
      requiredClaims: REQUIRED_CLAIMS,
      maxTokenAge: maxAgeSeconds,
      currentDate: new Date(clock.now()),
    };
    for (const signer of signers) {
      const claims = await signer.verify(token, options);
      if (!claims) continue;
      const { sub, tid, role, sid, exp, iat } = claims;
      if (!isId(sub) || !isId(tid) || !isId(sid) || !isRole(role)) return null;
      if (typeof exp !== 'number' || typeof iat !== 'number') return null;
      const principal = { tenantId: tid, userId: sub, role, sessionId: sid, expiresAt: exp * 1_000 };
      return { principal, until: Math.min(exp, iat + maxAgeSeconds) * 1_000 };
    }
    return null;
  }

  return {
    async sign({ tenantId, userId, role, sessionId }, ttlSeconds) {
      if (ttlSeconds > maxAgeSeconds)
        throw new AppError('internal', 'An access token was asked for that would outlive the maximum age.');
      const exp = Math.floor(clock.now() / 1_000) + ttlSeconds;
      return first.sign({ sub: userId, tid: tenantId, role, sid: sessionId, iat: true, exp });
    },

    async verify(token) {
      const known = proven.get(token);
      if (known) {
        if (clock.now() < known.until) return known.principal;
        proven.delete(token);
      }
      const fresh = await prove(token);
      if (!fresh) return null;
      if (proven.size >= MOST_REMEMBERED) proven.clear();
      proven.set(token, fresh);
      return fresh.principal;
    },
  };
}
