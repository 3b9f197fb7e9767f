/**
 * One attempt at one turn of a conversation. Only a conversation's oldest unfinished turn is handed out, so a
 * conversation has at most one of these alive.
 *
 *   beginning → working: recalling → retrieving → generating → checking → persisting → settled
 *
 * The lease is kept in parallel; CANCEL aborts the generating effect and with it the provider's request.
 */
import { assign, setup } from 'xstate';
import type { Job } from '../src/contracts/index.ts';
import type { Scope } from '../src/kernel/context.ts';
import { type Outcome, released, superseded } from '../src/kernel/outcome.ts';
import { type Scoped, unprovided } from './effect.ts';

export interface ChatAttempt {
  readonly attempt: number;
}

export interface SessionInput {
  job: Job;
  scope: Scope;
}

interface Context extends SessionInput {
  attempt: ChatAttempt | undefined;
  failure: unknown;
  outcome: Outcome;
  /** What was asked for while the attempt was still beginning. */
  pending: 'CANCEL' | 'RELEASE' | undefined;
}

interface Step extends Scoped {
  readonly attempt: ChatAttempt;
}

export type SessionEvent = { type: 'CANCEL' } | { type: 'RELEASE' };

function step(context: Context): Step {
  if (!context.attempt) throw new Error('a step was reached before its attempt had begun');
  return { scope: context.scope, attempt: context.attempt };
}

export const chatSession = setup({
  types: {
    context: {} as Context,
    input: {} as SessionInput,
    events: {} as SessionEvent,
    output: {} as Outcome,
  },
  actors: {
    /** Takes the fencing number; an outcome instead of an attempt where there is nothing to do. */
    begin: unprovided<Scoped & { job: Job }, ChatAttempt | Outcome>('begin'),
    /** Renews the lease until it is lost; resolves with why the attempt must stop. */
    keepLease: unprovided<Step, 'lost' | 'cancelled'>('keepLease'),
    /** The conversation so far, within the token budget. */
    recall: unprovided<Step, void>('recall'),
    retrieve: unprovided<Step, void>('retrieve'),
    /** Streams the answer to the turn's log; resolves `false` where another attempt has taken the log over. */
    generate: unprovided<Step, boolean>('generate'),
    checkCitations: unprovided<Step, void>('checkCitations'),
    persist: unprovided<Step, Outcome>('persist'),
    fail: unprovided<Scoped & { job: Job; attempt: ChatAttempt | undefined; error: unknown }, Outcome>('fail'),
    cancel: unprovided<Step, Outcome>('cancel'),
    release: unprovided<Step, Outcome>('release'),
  },
}).createMachine({
  id: 'chat-session',
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
            actions: assign({ attempt: ({ event }) => ('attempt' in event.output ? event.output : undefined) }),
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
      initial: 'recalling',
      states: {
        recalling: {
          invoke: {
            src: 'recall',
            input: ({ context }) => step(context),
            onDone: 'retrieving',
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        retrieving: {
          invoke: {
            src: 'retrieve',
            input: ({ context }) => step(context),
            onDone: 'generating',
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        generating: {
          invoke: {
            src: 'generate',
            input: ({ context }) => step(context),
            onDone: [
              { guard: ({ event }) => event.output, target: 'checking' },
              { target: '#chat-session.settled', actions: assign({ outcome: superseded }) },
            ],
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        checking: {
          invoke: {
            src: 'checkCitations',
            input: ({ context }) => step(context),
            onDone: 'persisting',
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        persisting: {
          invoke: {
            src: 'persist',
            input: ({ context }) => step(context),
            onDone: { target: '#chat-session.settled', actions: assign({ outcome: ({ event }) => event.output }) },
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
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
    /** Nothing could be written: only the lease's end brings the turn back. */
    abandoned: { type: 'final', entry: assign({ outcome: { type: 'abandoned' } as const }) },
  },
});
