/**
 * One attempt at making one document searchable.
 *
 *   beginning → working: extracting → chunking → embedding (a batch at a time) → publishing → settled
 *
 * The machine holds no text: what a step made is a handle that the effects understand. The frame is `attempt.ts`.
 */
import { assign, setup } from 'xstate';
import type { Outcome } from '../src/kernel/outcome.ts';
import { type Attempt, around, begun, effects, type Step, step, types, whileWorking } from './attempt.ts';
import { unprovided } from './effect.ts';

export type IngestAttempt = Attempt;

export interface EmbedProgress {
  /** Chunks that are written, of all attempts. */
  done: number;
  total: number;
}

export const uploadPipeline = setup({
  types,
  actors: {
    ...effects,
    extract: unprovided<Step, void>('extract'),
    chunk: unprovided<Step, void>('chunk'),
    embedBatch: unprovided<Step, EmbedProgress>('embedBatch'),
    publish: unprovided<Step, Outcome>('publish'),
  },
}).createMachine({
  id: 'upload-pipeline',
  context: begun,
  initial: 'beginning',
  output: ({ context }) => context.outcome,
  states: {
    ...around,
    working: {
      ...whileWorking,
      initial: 'extracting',
      states: {
        extracting: {
          invoke: {
            src: 'extract',
            input: step,
            onDone: 'chunking',
            onError: { target: '#upload-pipeline.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        chunking: {
          invoke: {
            src: 'chunk',
            input: step,
            onDone: 'embedding',
            onError: { target: '#upload-pipeline.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        embedding: {
          invoke: {
            src: 'embedBatch',
            input: step,
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
            input: step,
            onDone: { target: '#upload-pipeline.settled', actions: assign({ outcome: ({ event }) => event.output }) },
            onError: { target: '#upload-pipeline.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
      },
    },
  },
});
