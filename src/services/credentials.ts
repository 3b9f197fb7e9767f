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

/** For refreshing and for invitations. 256 random bits are as hard to guess as their hash, so SHA-256 is enough to store them by. */
export function newToken(): { token: string; hash: Uint8Array } {
  const token = randomBytes(32).toString('base64url');
  return { token, hash: hashOfToken(token) };
}

/** How every API key begins, so that people and scanners know one where it should not be. */
const KEY_PREFIX = 'dhk_';
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 62^43 is a little more than 2^256. */
const SECRET_DIGITS = 43;
const CHECK_DIGITS = 6;
/** What is shown of a key later on: 48 bits of it at most, which leave more than 200. */
const SHOWN = KEY_PREFIX.length + 8;
const API_KEY = new RegExp(`^${KEY_PREFIX}[0-9A-Za-z]{${SECRET_DIGITS + CHECK_DIGITS}}$`);

function base62(value: bigint, digits: number): string {
  let text = '';
  for (let left = value; text.length < digits; left /= 62n) text = BASE62[Number(left % 62n)] + text;
  return text;
}

const checkOf = (secret: string) => base62(BigInt(Bun.hash.crc32(KEY_PREFIX + secret)), CHECK_DIGITS);

/** `dhk_`, 256 random bits and a CRC-32 of both, in base 62: what is mistyped, or cut off, is told without a database. */
export function newApiKey(): { key: string; prefix: string; hash: Uint8Array } {
  const secret = base62(BigInt(`0x${randomBytes(32).toString('hex')}`), SECRET_DIGITS);
  const key = KEY_PREFIX + secret + checkOf(secret);
  return { key, prefix: key.slice(0, SHOWN), hash: hashOfToken(key) };
}

/** It was meant as an API key, whether or not it is one. */
export const looksLikeApiKey = (text: string): boolean => text.startsWith(KEY_PREFIX);

/** Has the form and the checksum of one. */
export function isApiKey(text: string): boolean {
  if (!API_KEY.test(text)) return false;
  const secret = text.slice(KEY_PREFIX.length, -CHECK_DIGITS);
  return checkOf(secret) === text.slice(-CHECK_DIGITS);
}

/** SHA-256, 32 bytes: what is kept of a token. It is random, so it needs no salt and no slow hash. */
export function hashOfToken(token: string): Uint8Array {
  return createHash('sha256').update(token).digest();
}
