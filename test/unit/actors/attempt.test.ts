import { describe, expect, test } from 'bun:test';
import { createActor } from 'xstate';
import { type Attempt, atBeginning } from '../../../actors/attempt.ts';
import { chatSession } from '../../../actors/chat-session.ts';
import { effect, type Scoped } from '../../../actors/effect.ts';
import { uploadPipeline } from '../../../actors/upload-pipeline.ts';
import type { Job } from '../../../src/contracts/index.ts';
import { currentScope, type Scope } from '../../../src/kernel/context.ts';
import type { Outcome } from '../../../src/kernel/outcome.ts';

const scope: Scope = { tenantId: 't', userId: 'u', traceId: 'a'.repeat(32) };
const job: Job = { v: 1, lane: 'ingest', tenantId: 't', userId: 'u', id: 'j', traceparent: '' };
const input = { job, scope };

/** What its first effect is given, and in whose scope. */
function noting() {
  const seen: unknown[] = [];
  const begin = effect<Scoped & { job: Job }, Attempt | Outcome>(async (given, signal) => {
    seen.push(given, currentScope(), signal.aborted);
    return new Promise<never>(() => undefined);
  });
  return { seen, begin };
}

// A tenant's actor makes its children at their first state instead of letting them walk there.
describe('an attempt that is made at its beginning is as one that got there by itself', () => {
  for (const machine of [uploadPipeline, chatSession] as const) {
    test(machine.id, () => {
      const [made, walked] = [noting(), noting()];
      const actors = [
        createActor(machine.provide({ actors: { begin: made.begin } }) as typeof uploadPipeline, {
          input,
          snapshot: atBeginning(input),
        }),
        createActor(machine.provide({ actors: { begin: walked.begin } }) as typeof uploadPipeline, { input }),
      ] as const;
      for (const actor of actors) actor.start();
      const [one, other] = actors.map((actor) => JSON.parse(JSON.stringify(actor.getPersistedSnapshot())));
      expect(one).toEqual(other);
      expect(made.seen).toEqual([input, scope, false]);
      expect(walked.seen).toEqual(made.seen);
      for (const actor of actors) actor.stop();
    });
  }
});
