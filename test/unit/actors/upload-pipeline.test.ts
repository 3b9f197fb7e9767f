import { describe, expect, test } from 'bun:test';
import { createActor, waitFor } from 'xstate';
import { effect, type Scoped } from '../../../actors/effect.ts';
import { type EmbedProgress, type IngestAttempt, uploadPipeline } from '../../../actors/upload-pipeline.ts';
import type { Job } from '../../../src/contracts/index.ts';
import type { Scope } from '../../../src/kernel/context.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { cancelled, done, failed, type Outcome, released, superseded } from '../../../src/kernel/outcome.ts';

type Step = Scoped & { attempt: IngestAttempt };
const scope: Scope = { tenantId: 't', userId: 'u', traceId: 'a'.repeat(32) };
const job: Job = { v: 1, lane: 'ingest', tenantId: 't', userId: 'u', id: 'j', traceparent: '' };

const untilAborted = <T>(signal: AbortSignal) =>
  new Promise<T>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }));

/** A pipeline whose effects succeed at once, but for those that a test replaces. */
function pipeline(calls: string[], replace: Partial<Record<string, () => Promise<never>>> = {}) {
  const run = <Output>(name: string, output: Output) =>
    effect<Step, Output>(async () => {
      calls.push(name);
      return replace[name] ? replace[name]() : output;
    });
  let batches = 0;
  return uploadPipeline.provide({
    actors: {
      begin: effect<Scoped & { job: Job }, IngestAttempt | Outcome>(async () => {
        calls.push('begin');
        return replace['begin'] ? replace['begin']() : { attempt: 1 };
      }),
      keepLease: effect<Step, 'lost' | 'cancelled'>((_, signal) => untilAborted(signal)),
      extract: run<void>('extract', undefined),
      chunk: run<void>('chunk', undefined),
      embedBatch: effect<Step, EmbedProgress>(async () => {
        calls.push('embedBatch');
        batches += 1;
        return { done: batches, total: 3 };
      }),
      publish: run<Outcome>('publish', done),
      fail: effect<Scoped & { job: Job; attempt: IngestAttempt | undefined; error: unknown }, Outcome>(
        async ({ error }) => {
          calls.push('fail');
          if (replace['fail']) return replace['fail']();
          return failed('internal', error instanceof Error ? error.message : '');
        },
      ),
      cancel: run<Outcome>('cancel', cancelled),
      release: run<Outcome>('release', released),
    },
  });
}

async function outcomeOf(machine: typeof uploadPipeline): Promise<Outcome> {
  const ref = createActor(machine, { input: { job, scope } });
  ref.subscribe({ error: () => undefined });
  ref.start();
  const { output } = await waitFor(ref, (state) => state.status === 'done');
  if (!output) throw new Error('no output');
  return output;
}

const reject = (message: string) => () => Promise.reject<never>(new Error(message));

describe('an upload pipeline', () => {
  test('goes through its stages and embeds batch by batch', async () => {
    const calls: string[] = [];
    expect(await outcomeOf(pipeline(calls))).toEqual(done);
    expect(calls).toEqual(['begin', 'extract', 'chunk', 'embedBatch', 'embedBatch', 'embedBatch', 'publish']);
  });

  for (const stage of ['begin', 'extract', 'chunk', 'publish']) {
    test(`settles the failure of ${stage}`, async () => {
      const calls: string[] = [];
      expect(await outcomeOf(pipeline(calls, { [stage]: reject('no') }))).toEqual(failed('internal', 'no'));
      expect(calls.at(-1)).toBe('fail');
    });
  }

  test('is abandoned when not even its failure can be written down', async () => {
    const machine = pipeline([], { extract: reject('no'), fail: reject('nor that') });
    expect(await outcomeOf(machine)).toEqual({ type: 'abandoned' });
  });

  for (const [what, error] of [
    ['is away', new AppError('unavailable', 'The database is not available.')],
    ['waits for others', Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' })],
  ] as const) {
    test(`says that it is not to blame where the database ${what}`, async () => {
      const machine = pipeline([], { begin: () => Promise.reject(error), fail: () => Promise.reject(error) });
      expect(await outcomeOf(machine)).toEqual({ type: 'unavailable' });
    });
  }

  for (const [event, outcome] of [
    ['CANCEL', cancelled],
    ['RELEASE', released],
  ] as const) {
    test(`leaves what it does at once on ${event} and aborts its effect`, async () => {
      const calls: string[] = [];
      const aborted = Promise.withResolvers<void>();
      const started = Promise.withResolvers<void>();
      const machine = pipeline(calls).provide({
        actors: {
          extract: effect<Step, void>((_, signal) => {
            signal.addEventListener('abort', () => aborted.resolve());
            started.resolve();
            return untilAborted(signal);
          }),
        },
      });
      const ref = createActor(machine, { input: { job, scope } });
      ref.start();
      await started.promise;
      ref.send({ type: event });
      await aborted.promise;
      expect((await waitFor(ref, (state) => state.status === 'done')).output).toEqual(outcome);
    });

    test(`remembers ${event} that comes while it begins`, async () => {
      const calls: string[] = [];
      const ref = createActor(pipeline(calls), { input: { job, scope } });
      ref.start();
      ref.send({ type: event });
      expect((await waitFor(ref, (state) => state.status === 'done')).output).toEqual(outcome);
      expect(calls).not.toContain('publish');
    });
  }

  for (const [why, outcome] of [
    ['lost', superseded],
    ['cancelled', cancelled],
  ] as const) {
    test(`stops when its lease says ${why}`, async () => {
      const calls: string[] = [];
      const machine = pipeline(calls).provide({
        actors: {
          keepLease: effect<Step, 'lost' | 'cancelled'>(async () => why),
          extract: effect<Step, void>((_, signal) => untilAborted(signal)),
        },
      });
      expect(await outcomeOf(machine)).toEqual(outcome);
    });
  }
});
