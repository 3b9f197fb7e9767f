/** A user's own key of the model provider: kept sealed, bound to whose it is, opened only to answer that user's chats. */
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Sealer } from '../kernel/sealing.ts';

/** Below this length the last characters would tell too much of it. */
const LEAST_TOLD = 20;

/** What a sealed key belongs to: in no other row can it be opened. */
function placeOf(): string {
  const { tenantId, userId } = currentScope();
  return `user ${tenantId} ${userId} openai_api_key`;
}

/** Throws `conflict` where this installation has nothing to seal with. */
export function sealUserKey(sealer: Sealer | undefined, key: string): { sealed: Uint8Array; last4: string | null } {
  if (!sealer) {
    throw new AppError(
      'conflict',
      'This installation cannot keep API keys: its operator has set no ENCRYPTION_KEY and no JWT_SECRET.',
    );
  }
  return { sealed: sealer.seal(Buffer.from(key), placeOf()), last4: key.length < LEAST_TOLD ? null : key.slice(-4) };
}

/**
 * The key, and how it is to be kept from now on where it was sealed under an older secret. Throws `conflict` where it cannot
 * be opened: answering with the installation's keys instead would spend somebody else's money without a word.
 */
export function openUserKey(sealer: Sealer | undefined, sealed: Uint8Array): { key: string; resealed?: Uint8Array } {
  if (!sealer) {
    throw new AppError(
      'conflict',
      'Your own API key cannot be used: the worker has no ENCRYPTION_KEY or JWT_SECRET to open it with.',
    );
  }
  let opened: Uint8Array;
  try {
    opened = sealer.open(sealed, placeOf());
  } catch (cause) {
    throw new AppError('conflict', 'Your own API key cannot be opened any more: store it again, or remove it.', {
      cause,
    });
  }
  const key = Buffer.from(opened).toString('utf8');
  return sealer.isOld(sealed) ? { key, resealed: sealer.seal(opened, placeOf()) } : { key };
}
