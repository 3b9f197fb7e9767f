/**
 * One attempt at making one document searchable.
 *
 *   beginning → working: extracting → chunking → embedding (a batch at a time) → publishing → settled
 *
 * While working, the attempt's lease is kept in parallel. Any failure goes to `failing`, which decides between another
 * attempt and the end; CANCEL and RELEASE go to their own states from anywhere. The output is the attempt's outcome.
 * The machine holds no text: what a step made is a handle that the effects understand.
 */
import { assign, setup } from 'xstate';
import type { Job } from '../src/contracts/index.ts';
import type { Scope } from '../src/kernel/context.ts';
import { type Outcome, released, superseded } from '../src/kernel/outcome.ts';
import { type Scoped, unprovided } from './effect.ts';

/** An attempt under way: its fencing number and what the effects keep between steps. */
export interface IngestAttempt {
  readonly attempt: number;
}

export interface EmbedProgress {
  /** Chunks that are written, of all attempts. */
  done: number;
  total: number;
}

export interface PipelineInput {
  job: Job;
  scope: Scope;
}

interface Context extends PipelineInput {
  attempt: IngestAttempt | undefined;
  failure: unknown;
  outcome: Outcome;
  /** What was asked for while the attempt was still beginning. */
  pending: 'CANCEL' | 'RELEASE' | undefined;
}

interface Step extends Scoped {
  readonly attempt: IngestAttempt;
}

export type PipelineEvent = { type: 'CANCEL' } | { type: 'RELEASE' };

/** The step effects are only invoked where an attempt has begun. */
function step(context: Context): Step {
  if (!context.attempt) throw new Error('a step was reached before its attempt had begun');
  return { scope: context.scope, attempt: context.attempt };
}

export const uploadPipeline = setup({
  types: {
    context: {} as Context,
    input: {} as PipelineInput,
    events: {} as PipelineEvent,
    output: {} as Outcome,
  },
  actors: {
    /** Takes the fencing number; an outcome instead of an attempt where there is nothing to do. */
    begin: unprovided<Scoped & { job: Job }, IngestAttempt | Outcome>('begin'),
    /** Renews the lease until it is lost; resolves with why the attempt must stop. */
    keepLease: unprovided<Step, 'lost' | 'cancelled'>('keepLease'),
    extract: unprovided<Step, void>('extract'),
    chunk: unprovided<Step, void>('chunk'),
    embedBatch: unprovided<Step, EmbedProgress>('embedBatch'),
    publish: unprovided<Step, Outcome>('publish'),
    /** Settles the task after a failure: another attempt, the dead letters, or a failure that names the input. */
    fail: unprovided<Scoped & { job: Job; attempt: IngestAttempt | undefined; error: unknown }, Outcome>('fail'),
    cancel: unprovided<Step, Outcome>('cancel'),
    release: unprovided<Step, Outcome>('release'),
  },
}).createMachine({
  id: 'upload-pipeline',
  context: ({ input }) => ({ ...input, attempt: undefined, failure: undefined, outcome: released, pending: undefined }),
  initial: 'beginning',
  output: ({ context }) => context.outcome,
  states: {
    beginning: {
      on: {
        CANCEL: { actions: assign({ pending: 'CANCEL' }) },
        RELEASE: { actions: assign({ pending: 'RELEASE' }) },
      },
      invoke: {
        src: 'begin',
        input: ({ context }) => ({ scope: context.scope, job: context.job }),
        onDone: [
          {
            guard: ({ event }) => 'attempt' in event.output,
            target: 'working',
            actions: assign({
              attempt: ({ event }) => ('attempt' in event.output ? event.output : undefined),
            }),
          },
          {
            target: 'settled',
            actions: assign({ outcome: ({ event }) => ('attempt' in event.output ? superseded : event.output) }),
          },
        ],
        onError: { target: 'failing', actions: assign({ failure: ({ event }) => event.error }) },
      },
    },
    working: {
      always: [
        { guard: ({ context }) => context.pending === 'CANCEL', target: 'cancelling' },
        { guard: ({ context }) => context.pending === 'RELEASE', target: 'releasing' },
      ],
      invoke: {
        src: 'keepLease',
        input: ({ context }) => step(context),
        onDone: [
          { guard: ({ event }) => event.output === 'cancelled', target: 'cancelling' },
          { target: 'settled', actions: assign({ outcome: superseded }) },
        ],
        onError: { target: 'failing', actions: assign({ failure: ({ event }) => event.error }) },
      },
      on: { CANCEL: 'cancelling', RELEASE: 'releasing' },
      initial: 'extracting',
      states: {
        extracting: {
          invoke: {
            src: 'extract',
            input: ({ context }) => step(context),
            onDone: 'chunking',
            onError: { target: '#upload-pipeline.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        chunking: {
          invoke: {
            src: 'chunk',
            input: ({ context }) => step(context),
            onDone: 'embedding',
            onError: { target: '#upload-pipeline.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        embedding: {
          invoke: {
            src: 'embedBatch',
            input: ({ context }) => step(context),
            onDone: [
              { guard: ({ event }) => event.output.done < event.output.total, target: 'embedding', reenter: true },
              { target: 'publishing' },
            ],
            onError: { target: '#upload-pipeline.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        publishing: {
          invoke: {
            src: 'publish',
            input: ({ context }) => step(context),
            onDone: { target: '#upload-pipeline.settled', actions: assign({ outcome: ({ event }) => event.output }) },
            onError: { target: '#upload-pipeline.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
      },
    },
    failing: {
      invoke: {
        src: 'fail',
        input: ({ context }) => ({
          scope: context.scope,
          job: context.job,
          attempt: context.attempt,
          error: context.failure,
        }),
        onDone: { target: 'settled', actions: assign({ outcome: ({ event }) => event.output }) },
        // The failure could not be written down either: the entry stays unacknowledged and comes again.
        onError: { target: 'abandoned', actions: assign({ failure: ({ event }) => event.error }) },
      },
    },
    cancelling: {
      invoke: {
        src: 'cancel',
        input: ({ context }) => step(context),
        onDone: { target: 'settled', actions: assign({ outcome: ({ event }) => event.output }) },
        onError: { target: 'abandoned', actions: assign({ failure: ({ event }) => event.error }) },
      },
    },
    releasing: {
      invoke: {
        src: 'release',
        input: ({ context }) => step(context),
        onDone: { target: 'settled', actions: assign({ outcome: ({ event }) => event.output }) },
        onError: { target: 'abandoned', actions: assign({ failure: ({ event }) => event.error }) },
      },
    },
    settled: { type: 'final' },
    /** Nothing could be written: only the lease's end brings the task back. */
    abandoned: { type: 'final', entry: assign({ outcome: { type: 'abandoned' } as const }) },
  },
});
