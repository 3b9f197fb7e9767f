/**
 * Everything that runs for one tenant in this process. It owns the pipelines and chat sessions of the tenant, tells the
 * worker how each attempt ended, and passes cancellations and the shutdown on. It lives while it has work.
 *
 *   active (no child … many children) → draining (RELEASE: children hand their work back) → done
 */
import { type ActorRefFrom, assign, enqueueActions, type OutputFrom, setup } from 'xstate';
import type { Job } from '../src/contracts/index.ts';
import type { Scope } from '../src/kernel/context.ts';
import type { Outcome } from '../src/kernel/outcome.ts';
import { chatSession } from './chat-session.ts';
import { uploadPipeline } from './upload-pipeline.ts';

export interface TenantInput {
  tenantId: string;
}

interface Running {
  ref: ActorRefFrom<typeof uploadPipeline> | ActorRefFrom<typeof chatSession>;
  settled(outcome: Outcome): void;
}

interface Context extends TenantInput {
  running: Readonly<Record<string, Running>>;
}

export type TenantEvent =
  /** A job was taken from the tenant's stream; `settled` is told how the attempt ended. */
  | { type: 'DELIVER'; job: Job; scope: Scope; settled(outcome: Outcome): void }
  /** Somebody cancelled the task or turn. */
  | { type: 'CANCEL'; id: string }
  /** The process is going away. */
  | { type: 'RELEASE' }
  | { type: 'xstate.done.actor.*'; actorId: string; output: OutputFrom<typeof uploadPipeline> }
  | { type: 'xstate.error.actor.*'; actorId: string; error: unknown };

/** Child ids hold no dot: a wildcard event descriptor ends at one. */
const childId = (job: Pick<Job, 'lane' | 'id'>) => `${job.lane}:${job.id}`;

function without(running: Context['running'], id: string): Context['running'] {
  const { [id]: _gone, ...rest } = running;
  return rest;
}

export const tenant = setup({
  types: { context: {} as Context, input: {} as TenantInput, events: {} as TenantEvent },
  actors: { uploadPipeline, chatSession },
}).createMachine({
  id: 'tenant',
  context: ({ input }) => ({ ...input, running: {} }),
  initial: 'active',
  states: {
    active: {
      on: {
        DELIVER: {
          actions: enqueueActions(({ context, event, enqueue }) => {
            const id = childId(event.job);
            // The same job is running here already: its own delivery will settle it.
            if (context.running[id]) {
              event.settled({ type: 'superseded' });
              return;
            }
            enqueue.assign({
              running: ({ context: now, spawn }) => {
                const input = { job: event.job, scope: event.scope };
                const ref =
                  event.job.lane === 'ingest'
                    ? spawn('uploadPipeline', { id, input })
                    : spawn('chatSession', { id, input });
                return { ...now.running, [id]: { ref, settled: event.settled } };
              },
            });
          }),
        },
        CANCEL: {
          actions: ({ context, event }) => {
            context.running[`ingest:${event.id}`]?.ref.send({ type: 'CANCEL' });
            context.running[`chat:${event.id}`]?.ref.send({ type: 'CANCEL' });
          },
        },
        RELEASE: 'draining',
      },
    },
    draining: {
      entry: ({ context }) => {
        for (const { ref } of Object.values(context.running)) ref.send({ type: 'RELEASE' });
      },
      on: {
        DELIVER: { actions: ({ event }) => event.settled({ type: 'abandoned' }) },
      },
      always: { guard: ({ context }) => Object.keys(context.running).length === 0, target: 'done' },
    },
    done: { type: 'final' },
  },
  on: {
    'xstate.done.actor.*': {
      actions: [
        ({ context, event }) => context.running[event.actorId]?.settled(event.output),
        assign({ running: ({ context, event }) => without(context.running, event.actorId) }),
      ],
    },
    // A child that threw has written nothing: its lease brings the job back.
    'xstate.error.actor.*': {
      actions: [
        ({ context, event }) => context.running[event.actorId]?.settled({ type: 'abandoned' }),
        assign({ running: ({ context, event }) => without(context.running, event.actorId) }),
      ],
    },
  },
});
