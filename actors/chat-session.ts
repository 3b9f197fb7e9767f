/**
 * One attempt at one turn of a conversation. Only a conversation's oldest unfinished turn is handed out, so a
 * conversation has at most one of these alive.
 *
 *   beginning → working: recalling → retrieving → generating → checking → persisting → settled
 *
 * CANCEL aborts the generating effect and with it the provider's request. The frame is `attempt.ts`.
 */
import { assign, setup } from 'xstate';
import { type Outcome, superseded } from '../src/kernel/outcome.ts';
import { type Attempt, around, begun, effects, type Step, step, types, whileWorking } from './attempt.ts';
import { unprovided } from './effect.ts';

export type ChatAttempt = Attempt;

export const chatSession = setup({
  types,
  actors: {
    ...effects,
    /** The conversation so far, within the token budget. */
    recall: unprovided<Step, void>('recall'),
    retrieve: unprovided<Step, void>('retrieve'),
    /** Streams the answer to the turn's log; resolves `false` where another attempt has taken the log over. */
    generate: unprovided<Step, boolean>('generate'),
    checkCitations: unprovided<Step, void>('checkCitations'),
    persist: unprovided<Step, Outcome>('persist'),
  },
}).createMachine({
  id: 'chat-session',
  context: begun,
  initial: 'beginning',
  output: ({ context }) => context.outcome,
  states: {
    ...around,
    working: {
      ...whileWorking,
      initial: 'recalling',
      states: {
        recalling: {
          invoke: {
            src: 'recall',
            input: step,
            onDone: 'retrieving',
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        retrieving: {
          invoke: {
            src: 'retrieve',
            input: step,
            onDone: 'generating',
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        generating: {
          invoke: {
            src: 'generate',
            input: step,
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
            input: step,
            onDone: 'persisting',
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
        persisting: {
          invoke: {
            src: 'persist',
            input: step,
            onDone: { target: '#chat-session.settled', actions: assign({ outcome: ({ event }) => event.output }) },
            onError: { target: '#chat-session.failing', actions: assign({ failure: ({ event }) => event.error }) },
          },
        },
      },
    },
  },
});
