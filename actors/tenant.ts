/**
 * Everything that runs for one tenant in this process. It owns the pipelines and chat sessions of the tenant, tells the
 * worker how each attempt ended, and passes cancellations and the shutdown on. It lives while it has work.
 *
 *   active (no child … many children) → draining (RELEASE: children hand their work back) → done
 */
import { type ActorRefFrom, createActor, type OutputFrom, setup } from 'xstate';
import type { Job } from '../src/contracts/index.ts';
import type { Scope } from '../src/kernel/context.ts';
import type { Outcome } from '../src/kernel/outcome.ts';
import { atBeginning } from './attempt.ts';
import type { chatSession } from './chat-session.ts';
import type { uploadPipeline } from './upload-pipeline.ts';

export interface TenantInput {
  tenantId: string;
}

interface Running {
  key: string;
  ref: ActorRefFrom<typeof uploadPipeline> | ActorRefFrom<typeof chatSession>;
  settled(outcome: Outcome): void;
}

interface Context extends TenantInput {
  /** Children by their jobs. Changed in place, as the others: a copy for each job would cost as much as there are jobs. */
  readonly running: Map<string, Running>;
  /** The same by their ids. */
  readonly children: Map<string, Running>;
  /** Ids of children that have ended, for others. */
  readonly freeIds: string[];
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

const keyOf = (job: Pick<Job, 'lane' | 'id'>) => `${job.lane}:${job.id}`;

/**
 * The id of the next child: as few different ones as there are children at once, because the machine remembers for ever what
 * it does about each type of event, and the end of a child is a type of its own. They hold no dot, where a wildcard ends.
 */
const nextId = ({ children, freeIds }: Context) => freeIds.pop() ?? `job-${children.size}`;

/** Tells how a child ended, and forgets it. */
function settle({ running, children, freeIds }: Context, id: string, outcome: Outcome): void {
  const child = children.get(id);
  if (!child) return;
  children.delete(id);
  freeIds.push(id);
  running.delete(child.key);
  child.settled(outcome);
}

/** What the children are made from; their effects are supplied with it. */
export interface TenantChildren {
  uploadPipeline: typeof uploadPipeline;
  chatSession: typeof chatSession;
}

/**
 * The machine of one process. Its children are made by an action, each with the tenant as its parent, and not by `spawn`:
 * that copies what the machine knows of all of them for each, twice.
 */
export const createTenant = ({ uploadPipeline, chatSession }: TenantChildren) =>
  setup({
    types: { context: {} as Context, input: {} as TenantInput, events: {} as TenantEvent },
  }).createMachine({
    id: 'tenant',
    context: ({ input }) => ({ ...input, running: new Map(), children: new Map(), freeIds: [] }),
    initial: 'active',
    states: {
      active: {
        on: {
          DELIVER: {
            actions: ({ context, event, self }) => {
              const key = keyOf(event.job);
              // The same job is running here already: its own delivery will settle it.
              if (context.running.has(key)) {
                event.settled({ type: 'superseded' });
                return;
              }
              const id = nextId(context);
              const input = { job: event.job, scope: event.scope };
              const options = { id, parent: self, input, snapshot: atBeginning(input) };
              const ref =
                event.job.lane === 'ingest' ? createActor(uploadPipeline, options) : createActor(chatSession, options);
              const child: Running = { key, ref, settled: event.settled };
              context.running.set(key, child);
              context.children.set(id, child);
              ref.start();
            },
          },
          CANCEL: {
            actions: ({ context, event }) => {
              context.running.get(keyOf({ lane: 'ingest', id: event.id }))?.ref.send({ type: 'CANCEL' });
              context.running.get(keyOf({ lane: 'chat', id: event.id }))?.ref.send({ type: 'CANCEL' });
            },
          },
          RELEASE: 'draining',
        },
      },
      draining: {
        entry: ({ context }) => {
          for (const { ref } of context.running.values()) ref.send({ type: 'RELEASE' });
        },
        on: {
          DELIVER: { actions: ({ event }) => event.settled({ type: 'abandoned' }) },
        },
        always: { guard: ({ context }) => context.running.size === 0, target: 'done' },
      },
      done: { type: 'final' },
    },
    on: {
      'xstate.done.actor.*': { actions: ({ context, event }) => settle(context, event.actorId, event.output) },
      // A child that threw has written nothing: its lease brings the job back.
      'xstate.error.actor.*': {
        actions: ({ context, event }) => settle(context, event.actorId, { type: 'abandoned' }),
      },
    },
  });

export type Tenant = ReturnType<typeof createTenant>;
