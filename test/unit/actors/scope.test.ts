import { afterAll, describe, expect, test } from 'bun:test';
import { createActor } from 'xstate';
import { chatSession } from '../../../actors/chat-session.ts';
import { effect, type Scoped } from '../../../actors/effect.ts';
import { createTenant } from '../../../actors/tenant.ts';
import { type IngestAttempt, uploadPipeline } from '../../../actors/upload-pipeline.ts';
import type { Job } from '../../../src/contracts/index.ts';
import { currentScope, runAs, type Scope } from '../../../src/kernel/context.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { done, type Outcome } from '../../../src/kernel/outcome.ts';
import { createRedisClients } from '../../../src/redis/clients.ts';
import { startRedis } from '../../support/services.ts';

const scopeOf = (tenantId: string): Scope => ({ tenantId, userId: `${tenantId}-user`, traceId: 'a'.repeat(32) });
const A = scopeOf('tenant-a');
const B = scopeOf('tenant-b');
const jobOf = ({ tenantId, userId }: Scope, id: string): Job => ({
  v: 1,
  lane: 'ingest',
  tenantId,
  userId,
  id,
  traceparent: '',
});

/** A tenant's actor whose pipeline notes in whose scope each of its effects ran; `publish` waits for the gate. */
function actorThatNotes(seen: [string, string][], gate: Promise<void>) {
  const note = (name: string) => seen.push([name, currentScope().tenantId]);
  const step = <Output>(name: string, output: Output) =>
    effect<Scoped & { attempt: IngestAttempt }, Output>(async () => {
      note(name);
      await Promise.resolve();
      note(`${name} after a wait`);
      return output;
    });
  const pipeline = uploadPipeline.provide({
    actors: {
      begin: effect<Scoped & { job: Job }, IngestAttempt | Outcome>(async () => {
        note('begin');
        return { attempt: 1 };
      }),
      keepLease: effect<Scoped & { attempt: IngestAttempt }, 'lost' | 'cancelled'>(
        (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      ),
      extract: step<void>('extract', undefined),
      chunk: step<void>('chunk', undefined),
      embedBatch: step('embedBatch', { done: 1, total: 1 }),
      publish: effect<Scoped & { attempt: IngestAttempt }, Outcome>(async () => {
        await gate;
        note('publish');
        return done;
      }),
    },
  });
  const ref = createActor(createTenant({ uploadPipeline: pipeline, chatSession }), {
    input: { tenantId: A.tenantId },
  });
  ref.subscribe({ error: () => undefined });
  ref.start();
  return ref;
}

const redis = await startRedis();
const clients = createRedisClients({ url: redis.url, logger: silentLogger });
afterAll(async () => {
  await clients.close();
  await redis.stop();
});

const wakers: Record<string, (wake: () => void) => Promise<void>> = {
  'a request of tenant B': async (wake) => runAs(B, wake),
  'a timer that B set': (wake) =>
    runAs(
      B,
      () =>
        new Promise((resolve) =>
          setTimeout(() => {
            wake();
            resolve();
          }, 1),
        ),
    ),
  'a Redis callback that B registered': (wake) =>
    runAs(
      B,
      () =>
        new Promise((resolve) => {
          void clients.ops.ping(() => {
            wake();
            resolve();
          });
        }),
    ),
  'no scope at all': async (wake) => wake(),
};

describe('an effect of tenant A runs as A when its actor is woken from', () => {
  for (const [waker, by] of Object.entries(wakers)) {
    test(waker, async () => {
      const seen: [string, string][] = [];
      const gate = Promise.withResolvers<void>();
      const ref = actorThatNotes(seen, gate.promise);
      const ended = Promise.withResolvers<Outcome>();
      await by(() => ref.send({ type: 'DELIVER', job: jobOf(A, 'job'), scope: A, settled: ended.resolve }));
      runAs(B, gate.resolve);
      expect(await ended.promise).toEqual(done);
      expect(seen.map(([name]) => name)).toContain('publish');
      expect(seen.filter(([, tenantId]) => tenantId !== A.tenantId)).toEqual([]);
      ref.stop();
    });
  }
});

test('a scope that an effect entered is not seen by whoever woke it', async () => {
  const seen: [string, string][] = [];
  const ref = actorThatNotes(seen, Promise.resolve());
  const ended = Promise.withResolvers<Outcome>();
  await runAs(B, async () => {
    ref.send({ type: 'DELIVER', job: jobOf(A, 'job'), scope: A, settled: ended.resolve });
    await ended.promise;
    expect(currentScope().tenantId).toBe(B.tenantId);
  });
  ref.stop();
});
