/**
 * Seals what the database keeps and only we may read: AES-256-GCM under keys that HKDF-SHA-256 (RFC 5869) makes of the
 * installation's secrets, one for each purpose. A sealed value is bound to its context (whose it is), so that one cannot be
 * moved into another row. The first secret seals, all open: a new one is put first, as with tokens.
 *
 * Layout: version 1 (1 byte) · which key (4 bytes of its hash) · nonce (12) · tag (16) · what was sealed.
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { AppError } from './errors.ts';

export interface Sealer {
  seal(plain: Uint8Array, context: string): Uint8Array;
  /** Throws `internal` where it was changed, is another's, or was sealed under a secret that is not there any more. */
  open(sealed: Uint8Array, context: string): Uint8Array;
  /** Sealed under another than the first secret: worth sealing anew. */
  isOld(sealed: Uint8Array): boolean;
}

const VERSION = 1;
const KEY_ID = 4;
const NONCE = 12;
const TAG = 16;
const HEAD = 1 + KEY_ID + NONCE + TAG;

interface Key {
  readonly id: Buffer;
  readonly bytes: Buffer;
}

/** At least one secret, of 32 bytes or more; `purpose` separates uses of the same secret. */
export function createSealer({ secrets, purpose }: { secrets: readonly string[]; purpose: string }): Sealer {
  const keys = secrets.map((secret): Key => {
    const bytes = Buffer.from(hkdfSync('sha256', secret, 'dreamhub', `sealing ${purpose}`, 32));
    return { bytes, id: createHash('sha256').update(bytes).digest().subarray(0, KEY_ID) };
  });
  const [first] = keys;
  if (!first) throw new AppError('internal', 'A secret is needed to seal with.');

  const keyOf = (sealed: Uint8Array): Key | undefined =>
    sealed[0] === VERSION ? keys.find(({ id }) => id.equals(sealed.subarray(1, 1 + KEY_ID))) : undefined;

  return {
    isOld: (sealed) => keyOf(sealed) !== first,
    seal(plain, context) {
      const nonce = randomBytes(NONCE);
      const cipher = createCipheriv('aes-256-gcm', first.bytes, nonce).setAAD(Buffer.from(context));
      const body = Buffer.concat([cipher.update(plain), cipher.final()]);
      return Buffer.concat([Buffer.of(VERSION), first.id, nonce, cipher.getAuthTag(), body]);
    },
    open(sealed, context) {
      const key = keyOf(sealed);
      if (!key || sealed.length < HEAD) throw new AppError('internal', 'A sealed value cannot be opened.');
      const nonce = sealed.subarray(1 + KEY_ID, 1 + KEY_ID + NONCE);
      try {
        const decipher = createDecipheriv('aes-256-gcm', key.bytes, nonce)
          .setAAD(Buffer.from(context))
          .setAuthTag(sealed.subarray(HEAD - TAG, HEAD));
        return Buffer.concat([decipher.update(sealed.subarray(HEAD)), decipher.final()]);
      } catch (cause) {
        throw new AppError('internal', 'A sealed value cannot be opened.', { cause });
      }
    },
  };
}
