/**
 * Makes a request that comes twice have one effect and one answer (draft-ietf-httpapi-idempotency-key-header-07). A key: free
 * → running (leased and renewed) → answered for 24 hours, or free again where the request failed, because a failure had no
 * effect. Whoever runs it and dies loses the lease; the same request then runs again.
 */
import { createHash } from 'node:crypto';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Sealer } from '../kernel/sealing.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { answerKey, claimKey, getKey, releaseKey, renewKey, sweepKeys } from '../repositories/idempotency.ts';

export interface StoredAnswer {
  status: number;
  headers: [name: string, value: string][];
  body: Uint8Array<ArrayBuffer>;
}

export interface IdempotentRequest {
  key: string;
  /** Method, path and query. */
  target: string;
  /** SHA-256; null where only the end of the body tells. */
  bodyHash: Uint8Array | null;
}

export interface RunningRequest {
  /** Ends it with an answer that is given from now on. Never rejects: the effect is there already. */
  answered(bodyHash: Uint8Array, answer: StoredAnswer): Promise<void>;
  /** Ends it without an effect: the key is free again. Never rejects. */
  failed(): Promise<void>;
}

export type Admission =
  | { type: 'run'; running: RunningRequest }
  /** Answered already; `bodyHash` is what was sent then, for a caller who could not tell before. */
  | { type: 'repeat'; answer: StoredAnswer; bodyHash: Uint8Array };

export interface Idempotency {
  /**
   * Throws `conflict` with `retryAfterMs` while the same key runs, `invalid_request` where it was used for another
   * request.
   */
  admit(request: IdempotentRequest): Promise<Admission>;
}

export interface IdempotencyOptions {
  database: Database;
  sealer: Sealer;
  clock: Clock;
  ids: Ids;
  logger: Logger;
  /** After which one that runs and says nothing counts as dead. */
  leaseMs?: number;
}

const RETRY_MS = 1_000;
const TRIES = 3;

export const otherRequest = (): AppError =>
  new AppError('invalid_request', 'This Idempotency-Key was used for another request.', {
    errors: [{ path: 'Idempotency-Key', message: 'used with another method, path or body' }],
  });

const stillRunning = (): AppError =>
  new AppError('conflict', 'A request with this Idempotency-Key is still running.', { retryAfterMs: RETRY_MS });

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

export function createIdempotency(options: IdempotencyOptions): Idempotency {
  const { database, sealer, clock, ids, logger, leaseMs = 60_000 } = options;

  /** An answer is opened by whoever asked for it alone, and only under its own key. */
  const contextOf = (keyHash: Uint8Array): string => {
    const { tenantId, userId } = currentScope();
    return `${tenantId} ${userId} ${Buffer.from(keyHash).toString('hex')}`;
  };

  function pack({ headers, body }: StoredAnswer, keyHash: Uint8Array): Uint8Array {
    const head = Buffer.from(JSON.stringify(headers));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(head.length);
    return sealer.seal(Buffer.concat([length, head, body]), contextOf(keyHash));
  }

  function unpack(status: number, sealed: Uint8Array, keyHash: Uint8Array): StoredAnswer {
    const plain = Buffer.from(sealer.open(sealed, contextOf(keyHash)));
    const end = 4 + plain.readUInt32BE(0);
    const headers = JSON.parse(plain.toString('utf8', 4, end)) as StoredAnswer['headers'];
    return { status, headers, body: new Uint8Array(plain.subarray(end)) };
  }

  function run(keyHash: Uint8Array, attempt: string): RunningRequest {
    let cancelRenewal = () => {};
    let over = false;
    const told = (what: string) => (error: unknown) => logger.error({ err: error }, `${what}: ${messageOf(error)}`);
    const renewLater = (): void => {
      cancelRenewal = clock.after(leaseMs / 3, async () => {
        await database
          .tenant((sql) => renewKey(sql, keyHash, { attempt, leaseMs }))
          .catch(told('the lease of an idempotency key was not renewed'));
        if (!over) renewLater();
      });
    };
    renewLater();
    const end = (): void => {
      over = true;
      cancelRenewal();
    };
    return {
      async answered(bodyHash, answer) {
        end();
        await database
          .tenant((sql) =>
            answerKey(sql, keyHash, { attempt, bodyHash, status: answer.status, answer: pack(answer, keyHash) }),
          )
          .catch(told('an answer was not kept for its idempotency key'));
      },
      async failed() {
        end();
        await database
          .tenant((sql) => releaseKey(sql, keyHash, attempt))
          .catch(told('an idempotency key was not released'));
      },
    };
  }

  return {
    async admit({ key, target, bodyHash }) {
      const keyHash = createHash('sha256').update(key).digest();
      for (let tries = 0; tries < TRIES; tries += 1) {
        const attempt = ids.uuid();
        const found = await database.tenant(async (sql) => {
          if (await claimKey(sql, { keyHash, target, bodyHash }, { attempt, leaseMs })) return 'ours' as const;
          return getKey(sql, keyHash);
        });
        if (found === 'ours') return { type: 'run', running: run(keyHash, attempt) };
        // Released between the two statements.
        if (!found) continue;
        if (found.target !== target) throw otherRequest();
        if (bodyHash && found.bodyHash && !sameBytes(found.bodyHash, bodyHash)) throw otherRequest();
        if (found.status === null || !found.answer || !found.bodyHash) throw stillRunning();
        return { type: 'repeat', answer: unpack(found.status, found.answer, keyHash), bodyHash: found.bodyHash };
      }
      throw stillRunning();
    },
  };
}

const SWEPT_AT_ONCE = 5_000;

/** Forgets answers that are older than a day. */
export function createIdempotencySweep(options: {
  database: Database;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
}): Service {
  const { database, clock, logger, everyMs = 600_000 } = options;
  return createLoop({
    name: 'idempotency-sweep',
    everyMs,
    clock,
    logger,
    round: async () => (await database.system((sql) => sweepKeys(sql, SWEPT_AT_ONCE))) === SWEPT_AT_ONCE,
  });
}
