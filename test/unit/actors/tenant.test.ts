import { expect, test } from 'bun:test';
import { createActor } from 'xstate';
import { chatSession } from '../../../actors/chat-session.ts';
import { effect, type Scoped } from '../../../actors/effect.ts';
import { createTenant } from '../../../actors/tenant.ts';
import { type IngestAttempt, uploadPipeline } from '../../../actors/upload-pipeline.ts';
import type { Job } from '../../../src/contracts/index.ts';
import { done, type Outcome } from '../../../src/kernel/outcome.ts';

const AT_ONCE = 3;
const JOBS = 200;

// A machine remembers for ever what it does about each type of event that it was ever sent, and the end of a child is one.
test('the ends of a tenant’s jobs are as few types of events as it had jobs at once', async () => {
  const types = new Set<string>();
  const machine = uploadPipeline.provide({
    actors: { begin: effect<Scoped & { job: Job }, IngestAttempt | Outcome>(async () => done) },
  });
  const ref = createActor(createTenant({ uploadPipeline: machine, chatSession }), {
    input: { tenantId: 't' },
    inspect: (event) => {
      if (event.type === '@xstate.event' && event.actorRef === ref) types.add(event.event.type);
    },
  });
  ref.start();
  let sent = 0;
  const deliver = async () => {
    while (sent < JOBS) {
      const id = `job.${sent++}`;
      const { promise, resolve } = Promise.withResolvers<Outcome>();
      const job: Job = { v: 1, lane: 'ingest', tenantId: 't', userId: 'u', id, traceparent: '' };
      ref.send({ type: 'DELIVER', job, scope: { tenantId: 't', userId: 'u', traceId: '' }, settled: resolve });
      expect(await promise).toEqual(done);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, deliver));
  const ends = [...types].filter((type) => type.startsWith('xstate.done.actor'));
  expect(ends.length).toBeGreaterThan(0);
  expect(ends.length).toBeLessThanOrEqual(AT_ONCE);
  ref.stop();
});
