/**
 * The effects of a chat session: what each of its states does for one attempt at one turn. The answer is streamed to the
 * turn's log as it comes and committed when it is whole; both say the same text.
 */
import type { ChatAttempt } from '../../actors/chat-session.ts';
import { chatSession } from '../../actors/chat-session.ts';
import { effect, type Scoped } from '../../actors/effect.ts';
import type { Job } from '../contracts/index.ts';
import { type Outcome, superseded } from '../kernel/outcome.ts';
import { renewLease } from '../repositories/attempts.ts';
import { beginTurn, getTurn } from '../repositories/turns.ts';
import { type AnsweringEndingsOptions, createAnsweringEndings } from './answering-endings.ts';
import { type AnsweringStepsOptions, createAnsweringSteps } from './answering-steps.ts';
import { keyOf, newWork, topicOf, type Work } from './answering-work.ts';
import { keepLease } from './lease.ts';
import { endOfTurn } from './topic-ends.ts';

export interface AnsweringOptions extends AnsweringStepsOptions, Omit<AnsweringEndingsOptions, 'workOf'> {
  /** How long an attempt owns its turn without a sign of life, in milliseconds. */
  leaseMs: number;
}

export function createAnswering(options: AnsweringOptions) {
  const { database, chats, announcer, clock, logger, leaseMs } = options;
  const works = new WeakMap<ChatAttempt, Work>();

  function workOf(attempt: ChatAttempt): Work {
    const work = works.get(attempt);
    if (!work) throw new Error('an attempt that did not begin here');
    return work;
  }

  const { recall, retrieve, generate, checkCitations } = createAnsweringSteps(options);
  const { persist, fail, endFailed, cancel, release } = createAnsweringEndings({ ...options, workOf });

  async function begin(turnId: string): Promise<ChatAttempt | Outcome> {
    const begun = await database.tenant((sql) => beginTurn(sql, turnId, leaseMs));
    if (!begun) {
      await announceEnd(turnId);
      return superseded;
    }
    const work = newWork(turnId, begun, chats.house);
    works.set(work, work);
    await announcer.log(topicOf(turnId), work.attempt, 'turn.started', { attempt: work.attempt, turn_id: turnId });
    return work;
  }

  /** A worker that died between its commit and its last event: the log drops a final event that it has already. */
  async function announceEnd(turnId: string): Promise<void> {
    const turn = await database.tenant((sql) => getTurn(sql, turnId));
    const end = turn && endOfTurn(turn);
    if (end) await announcer.log(topicOf(turnId), turn.attempt, end.type, end.data);
  }

  const machine = chatSession.provide({
    actors: {
      begin: effect<Scoped & { job: Job }, ChatAttempt | Outcome>(({ job }) => begin(job.id)),
      keepLease: effect(({ attempt }, signal) => {
        const work = workOf(attempt);
        const renew = () => database.tenant((sql) => renewLease(sql, keyOf(work), leaseMs));
        return keepLease({ renew, leaseMs, clock, logger, signal });
      }),
      recall: effect(({ attempt }, signal) => recall(workOf(attempt), signal)),
      retrieve: effect(({ attempt }, signal) => retrieve(workOf(attempt), signal)),
      generate: effect(({ attempt }, signal) => generate(workOf(attempt), signal)),
      checkCitations: effect(({ attempt }) => checkCitations(workOf(attempt))),
      persist: effect(({ attempt }) => persist(workOf(attempt))),
      fail: effect(fail),
      cancel: effect(({ attempt }) => cancel(workOf(attempt))),
      release: effect(({ attempt }) => release(workOf(attempt))),
    },
  });

  /** Ends a turn that no attempt can begin: its stream entry is poison. */
  async function bury(turnId: string, message: string): Promise<void> {
    const begun = await begin(turnId);
    if ('attempt' in begun) await endFailed(workOf(begun), { code: 'internal', message, retryable: false });
  }

  return { machine, bury };
}

export type Answering = ReturnType<typeof createAnswering>;
