import { describe, expect, test } from 'bun:test';
import { chatSession } from '../../../actors/chat-session.ts';
import { effect, type Scoped } from '../../../actors/effect.ts';
import { type IngestAttempt, uploadPipeline } from '../../../actors/upload-pipeline.ts';
import type { Delivery, Job } from '../../../src/contracts/index.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { cancelled, done, type Outcome, released } from '../../../src/kernel/outcome.ts';
import { createTenantActors } from '../../../src/workers/tenants.ts';
import { createManualClock } from '../../support/manual-clock.ts';

type Step = Scoped & { attempt: IngestAttempt };

const delivery = (tenantId: string, id: string): Delivery => ({
  job: { v: 1, lane: 'ingest', tenantId, userId: 'user', id, traceparent: '' },
  entryId: '1-1',
  deliveries: 1,
  weight: 1,
});

/** Actors whose jobs wait where they begin until they are let through. */
function actors() {
  const clock = createManualClock();
  const gates = new Map<string, PromiseWithResolvers<IngestAttempt | Outcome>>();
  const gate = (id: string) => {
    const known = gates.get(id) ?? Promise.withResolvers<IngestAttempt | Outcome>();
    gates.set(id, known);
    return known;
  };
  const machine = uploadPipeline.provide({
    actors: {
      begin: effect<Scoped & { job: Job }, IngestAttempt | Outcome>(({ job }) => gate(job.id).promise),
      keepLease: effect<Step, 'lost' | 'cancelled'>(() => new Promise(() => undefined)),
      extract: effect<Step, void>(() => new Promise(() => undefined)),
      cancel: effect<Step, Outcome>(async () => cancelled),
      release: effect<Step, Outcome>(async () => released),
    },
  });
  const tenants = createTenantActors({
    ingestion: { machine },
    answering: { machine: chatSession },
    logger: silentLogger,
    clock,
  });
  return { clock, gate, tenants };
}

describe('a tenant’s actor', () => {
  test('is kept for a moment after the last job, and then let go', async () => {
    const { clock, gate, tenants } = actors();
    const running = tenants.run(delivery('a', '1'));
    clock.advance(60_000);
    expect(tenants.size()).toBe(1);
    gate('1').resolve(done);
    expect(await running).toEqual(done);
    clock.advance(1_000);
    expect(tenants.size()).toBe(1);
    clock.advance(1_000);
    expect(tenants.size()).toBe(0);
  });

  test('is not let go while the next job comes in time', async () => {
    const { clock, gate, tenants } = actors();
    for (let i = 0; i < 5; i++) {
      gate(`${i}`).resolve(done);
      expect(await tenants.run(delivery('a', `${i}`))).toEqual(done);
      clock.advance(1_000);
    }
    expect(tenants.size()).toBe(1);
  });

  test('is made anew for a job that comes later', async () => {
    const { clock, gate, tenants } = actors();
    for (const id of ['1', '2']) {
      gate(id).resolve(done);
      expect(await tenants.run(delivery('a', id))).toEqual(done);
      clock.advance(2_000);
      expect(tenants.size()).toBe(0);
    }
  });

  test('runs jobs one after the other and at once, whichever of them ends first', async () => {
    const { gate, tenants } = actors();
    const ended: string[] = [];
    const start = (id: string) => tenants.run(delivery('a', id)).then(() => ended.push(id));
    const [first, second, third] = [start('1'), start('2'), start('3')];
    gate('2').resolve(done);
    await second;
    const fourth = start('4');
    gate('4').resolve(done);
    await fourth;
    gate('1').resolve(done);
    gate('3').resolve(done);
    await Promise.all([first, third]);
    expect(ended).toEqual(['2', '4', '1', '3']);
  });

  test('runs a job once that is delivered twice', async () => {
    const { gate, tenants } = actors();
    const first = tenants.run(delivery('a', '1'));
    expect(await tenants.run(delivery('a', '1'))).toEqual({ type: 'superseded' });
    gate('1').resolve(done);
    expect(await first).toEqual(done);
  });

  test('cancels the job that is named, whose place another had before', async () => {
    const { gate, tenants } = actors();
    gate('1').resolve(done);
    await tenants.run(delivery('a', '1'));
    const [second, third] = [tenants.run(delivery('a', '2')), tenants.run(delivery('a', '3'))];
    tenants.cancel('a', '1');
    tenants.cancel('a', '3');
    gate('2').resolve(done);
    gate('3').resolve({ attempt: 1 });
    expect(await second).toEqual(done);
    expect(await third).toEqual(cancelled);
  });

  test('hands back what runs when the worker leaves, and none is left, resting ones neither', async () => {
    const { gate, tenants } = actors();
    gate('1').resolve(done);
    await tenants.run(delivery('a', '1'));
    const running = tenants.run(delivery('b', '2'));
    tenants.release();
    gate('2').resolve({ attempt: 1 });
    expect(await running).toEqual(released);
    expect(tenants.size()).toBe(0);
    expect(await tenants.run(delivery('a', '3'))).toEqual({ type: 'abandoned' });
  });
});
