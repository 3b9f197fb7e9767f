/** What people type to prove who they are, and the secrets that stand for it afterwards. */
import { createHash, randomBytes } from 'node:crypto';
import { AppError } from '../kernel/errors.ts';

/** OWASP's first choice for argon2id: 19 MiB, two passes. Bun's default takes 64 MiB, which parallel logins multiply. */
const ARGON2ID = { algorithm: 'argon2id', memoryCost: 19_456, timeCost: 2 } as const;

const MIN_PASSWORD = 8;
const MAX_PASSWORD = 256;
const MAX_EMAIL = 254;
const MAX_TENANT = 100;

const EMAIL = /^[^\s@\p{Cc}]+@[^\s@\p{Cc}]+$/u;

function invalid(path: string, message: string): AppError {
  return new AppError('invalid_request', `${message}.`, { errors: [{ path, message }] });
}

/** Lower case: nobody's mail server tells them apart, and people do not either. Throws `invalid_request`. */
export function normaliseEmail(text: string): string {
  const email = text.trim().normalize('NFC').toLowerCase();
  if (email.length > MAX_EMAIL || !EMAIL.test(email)) throw invalid('/email', 'Not an e-mail address');
  return email;
}

/** Throws `invalid_request`. */
export function normaliseTenantName(text: string): string {
  const name = text.trim().normalize('NFC');
  if (name.length === 0 || name.length > MAX_TENANT)
    throw invalid('/tenant', `A tenant's name has 1 to ${MAX_TENANT} characters`);
  if (/\p{Cc}/u.test(name)) throw invalid('/tenant', "A tenant's name has no control characters");
  return name;
}

export interface Passwords {
  /** Throws `invalid_request` for a password that is too short or too long. */
  hash(password: string): Promise<string>;
  verify(password: string, hash: string): Promise<boolean>;
  /** Takes as long as `verify`: an unknown e-mail must not answer faster than a wrong password. */
  verifyNothing(password: string): Promise<void>;
}

export function createPasswords(): Passwords {
  // The same characters can be typed in several Unicode forms, depending on the keyboard.
  const formOf = (password: string) => password.normalize('NFKC');
  const hashOf = (password: string) => Bun.password.hash(formOf(password), ARGON2ID);
  let nobody: Promise<string> | undefined;

  return {
    async hash(password) {
      if (password.length < MIN_PASSWORD || password.length > MAX_PASSWORD) {
        throw invalid('/password', `A password has ${MIN_PASSWORD} to ${MAX_PASSWORD} characters`);
      }
      return hashOf(password);
    },
    verify: (password, hash) => Bun.password.verify(formOf(password), hash),
    async verifyNothing(password) {
      nobody ??= hashOf(randomBytes(32).toString('base64url'));
      await Bun.password.verify(formOf(password), await nobody);
    },
  };
}

/** 256 random bits are as hard to guess as their hash, so a plain SHA-256 is enough to store them by. */
export function newRefreshToken(): { token: string; hash: Uint8Array } {
  const token = randomBytes(32).toString('base64url');
  return { token, hash: hashOfToken(token) };
}

/** SHA-256, 32 bytes: what is kept of a token. It is random, so it needs no salt and no slow hash. */
export function hashOfToken(token: string): Uint8Array {
  return createHash('sha256').update(token).digest();
}
