/**
 * The effects of a chat session: what each of its states does for one attempt at one turn. The answer is streamed to the
 * turn's log as it comes and committed when it is whole; both say the same text.
 */
import type { ChatAttempt } from '../../actors/chat-session.ts';
import { chatSession } from '../../actors/chat-session.ts';
import { effect, type Scoped } from '../../actors/effect.ts';
import type {
  ChatProvider,
  EventOf,
  EventPublisher,
  HistoryMessage,
  Job,
  Passage,
  Source,
  Usage,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { backoffMs } from '../kernel/backoff.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError, type ErrorKind, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { cancelled, done, failed, type Outcome, released, retryIn, superseded } from '../kernel/outcome.ts';
import { detectLanguage } from '../kernel/text/language.ts';
import { createDeltaWriter, type DeltaWriter } from '../realtime/delta-writer.ts';
import { renewLease, requeue } from '../repositories/attempts.ts';
import { countAnswer, insertMessage, recentMessages } from '../repositories/conversations.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import { getHits, getNeighbours } from '../repositories/search.ts';
import { beginTurn, endTurn, getTurn, type TurnAttempt, type TurnEnd } from '../repositories/turns.ts';
import { createAnswerFilter } from '../retrieval/answer-filter.ts';
import { standaloneQuery } from '../retrieval/follow-up.ts';
import { packPassages, withNeighbours } from '../retrieval/packing.ts';
import { type CitablePassage, recheck, sourceFor, sourcesOf, unsupportedNotice } from '../retrieval/sources.ts';
import type { Announcer } from './announcer.ts';
import { keepLease } from './lease.ts';
import type { Search } from './search.ts';
import { endOfTurn } from './topic-ends.ts';

export interface AnsweringOptions {
  database: Database;
  search: Pick<Search, 'hits'>;
  provider: ChatProvider;
  publisher: EventPublisher;
  announcer: Announcer;
  clock: Clock;
  random: () => number;
  logger: Logger;
  metrics: Metrics;
  maxAttempts: number;
  /** How long an attempt owns its turn without a sign of life. */
  leaseMs: number;
}

interface Work extends ChatAttempt {
  readonly turnId: string;
  readonly begun: TurnAttempt;
  history: HistoryMessage[];
  passages: { passage: Passage; citable: CitablePassage }[];
  sources: Source[];
  writer: DeltaWriter | undefined;
  /** The answer says that the passages do not support one. */
  unsupported: boolean;
  usage: Usage;
}

const MAX_HISTORY = 40;
/** Shares of the model's context: what is left is the answer's and the instructions'. */
const HISTORY_SHARE = 0.2;
const PASSAGE_SHARE = 0.45;
const RETRIEVED = 24;
const PASSAGES = 8;
/** So many of the best passages are read with the chunks around them. */
const WITH_NEIGHBOURS = 3;
const RETRY = { baseMs: 500, maxMs: 30_000 };
/** Failures of ours, that another attempt is made after. */
const OURS: ReadonlySet<ErrorKind> = new Set<ErrorKind>(['internal', 'unavailable']);
const NO_USAGE: Usage = { prompt_tokens: 0, completion_tokens: 0, cost: 0 };

/** The newest messages that fit the budget, oldest first. */
function withinBudget(
  newestFirst: readonly HistoryMessage[],
  budgetTokens: number,
  countTokens: (text: string) => number,
): HistoryMessage[] {
  const kept: HistoryMessage[] = [];
  let left = budgetTokens;
  for (const message of newestFirst) {
    left -= countTokens(message.content);
    if (left < 0) break;
    kept.push(message);
  }
  return kept.reverse();
}

/** Everything that the answer was given to read: an address that stands there may stand in the answer. */
function isKnownIn({ begun, passages, history }: Work): (url: string) => boolean {
  const texts = [
    begun.question,
    ...passages.map(({ passage }) => passage.text),
    ...history.map(({ content }) => content),
  ];
  return (url) => texts.some((text) => text.includes(url));
}

export function createAnswering(options: AnsweringOptions) {
  const { database, provider, publisher, announcer, clock, logger, metrics, leaseMs } = options;
  const works = new WeakMap<ChatAttempt, Work>();

  function workOf(attempt: ChatAttempt): Work {
    const work = works.get(attempt);
    if (!work) throw new Error('an attempt that did not begin here');
    return work;
  }

  const topicOf = (turnId: string) => `turn:${turnId}` as const;
  const namesOf = (work: Work) => ({
    turn_id: work.turnId,
    conversation_id: work.begun.conversation_id,
    user_id: currentScope().userId,
  });
  const keyOf = ({ turnId, attempt }: Work) => ({ table: 'turns' as const, id: turnId, attempt });
  const textOf = (work: Work) => work.writer?.text ?? '';

  async function begin(turnId: string): Promise<ChatAttempt | Outcome> {
    const begun = await database.tenant((sql) => beginTurn(sql, turnId, leaseMs));
    if (!begun) {
      await announceEnd(turnId);
      return superseded;
    }
    const work: Work = {
      attempt: begun.attempt,
      turnId,
      begun,
      history: [],
      passages: [],
      sources: [],
      writer: undefined,
      unsupported: false,
      usage: NO_USAGE,
    };
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

  async function recall(work: Work): Promise<void> {
    const { conversation_id: conversationId, position } = work.begun;
    const recent = await database.tenant((sql) =>
      recentMessages(sql, conversationId, { position, limit: MAX_HISTORY }),
    );
    work.history = withinBudget(recent, provider.contextTokens * HISTORY_SHARE, (text) => provider.countTokens(text));
  }

  async function retrieve(work: Work, signal: AbortSignal): Promise<void> {
    const { question, filter } = work.begun;
    const request = {
      query: standaloneQuery(question, work.history),
      top_k: RETRIEVED,
      mode: 'hybrid' as const,
      filter,
    };
    const packed = packPassages(await options.search.hits(request, signal), {
      budgetTokens: provider.contextTokens * PASSAGE_SHARE,
      countTokens: (text) => provider.countTokens(text),
      max: PASSAGES,
    });
    const around = await database.tenant((sql) =>
      getNeighbours(
        sql,
        packed.slice(0, WITH_NEIGHBOURS).map(({ hit }) => hit.chunk_id),
      ),
    );
    const widened = withNeighbours(packed, around, {
      budgetTokens: provider.contextTokens * PASSAGE_SHARE,
      countTokens: (text) => provider.countTokens(text),
    });
    work.passages = widened.map(({ hit, text, chunks }, index) => {
      const { title, page, headings, score, document_id } = hit;
      const n = index + 1;
      return { passage: { n, title, page, headings, text, score }, citable: { n, document_id, title, chunks } };
    });
    work.sources = work.passages.map(({ citable }) => sourceFor(citable, question));
    await announcer.log(topicOf(work.turnId), work.attempt, 'turn.sources', { sources: work.sources });
  }

  /** What the attempt has told before its text, for a log that was lost and begins anew. */
  function preamble(work: Work): EventOf[] {
    return [
      { type: 'turn.started', data: { attempt: work.attempt, turn_id: work.turnId } },
      { type: 'turn.sources', data: { sources: work.sources } },
    ];
  }

  async function generate(work: Work, signal: AbortSignal): Promise<boolean> {
    const writer = createDeltaWriter({
      publisher,
      topic: topicOf(work.turnId),
      attempt: work.attempt,
      clock,
      logger,
      preamble: () => preamble(work),
    });
    work.writer = writer;
    const { question, model } = work.begun;
    const answer = provider.answer(
      {
        question,
        history: work.history,
        passages: work.passages.map(({ passage }) => passage),
        ...(model !== null && { model }),
      },
      signal,
    );
    const filter = createAnswerFilter({
      citable: new Set(work.passages.map(({ passage }) => passage.n)),
      isKnownUrl: isKnownIn(work),
    });
    const tell = (text: string) => {
      if (text !== '') writer.write(text);
    };
    try {
      for await (const part of answer) {
        if (writer.fenced) return false;
        if (part.type === 'delta') tell(filter.write(part.text));
        else if (part.type === 'unsupported') work.unsupported = true;
        else {
          work.usage = { prompt_tokens: part.promptTokens, completion_tokens: part.completionTokens, cost: part.cost };
        }
      }
      tell(filter.end());
      work.sources = work.unsupported
        ? []
        : sourcesOf(
            textOf(work),
            work.passages.map(({ citable }) => citable),
          );
      // It cited what there is not, and nothing else stands behind it: its reader is told, where one that cites nothing says so.
      if (work.sources.length === 0 && !work.unsupported && filter.dropped > 0) {
        tell(unsupportedNotice(detectLanguage(question)));
      }
      if (filter.dropped > 0) metrics.citationsDropped.inc(filter.dropped);
    } finally {
      await writer.end();
    }
    return !writer.fenced;
  }

  /** Once more against what is stored: a document may have gone while the answer was written. */
  async function checkCitations(work: Work): Promise<void> {
    if (work.sources.length === 0) return;
    const rows = await database.tenant((sql) =>
      getHits(
        sql,
        work.sources.map(({ chunk_id: id }) => id),
      ),
    );
    work.sources = recheck(work.sources, new Map(rows.map(({ chunk_id: id, text }) => [id, text])));
    const failed = work.sources.filter(({ verified }) => !verified).length;
    if (failed > 0) metrics.citationsUnverified.inc(failed);
  }

  /** Through the writer of the text, which restores all of it where the log was lost just before its end. */
  async function tellEnd(
    work: Work,
    event: EventOf<'turn.completed'> | EventOf<'turn.failed'> | EventOf<'turn.cancelled'>,
  ): Promise<void> {
    if (!work.writer) {
      await announcer.log(topicOf(work.turnId), work.attempt, event.type, event.data);
      return;
    }
    try {
      await work.writer.finish(event);
    } catch (error) {
      // It is committed; the log gets its end when Redis is back, and until then readers see the row.
      logger.warn({ err: error, turn_id: work.turnId }, `the end is not announced yet: ${messageOf(error)}`);
    }
  }

  async function persist(work: Work): Promise<Outcome> {
    const { conversation_id: conversationId, answer_id: answerId, message_id: messageId, position } = work.begun;
    const { sources, usage } = work;
    const text = textOf(work);
    const end: TurnEnd = { status: 'completed', text, sources, usage, error: null };
    const conversation = await database.tenant(async (sql) => {
      if (!(await endTurn(sql, work.turnId, work.attempt, end))) return undefined;
      await insertMessage(sql, {
        id: answerId,
        conversationId,
        position: position + 1,
        role: 'assistant',
        content: text,
        sources,
        turnId: work.turnId,
        parentId: messageId,
      });
      await appendOutbox(sql, 'turn.completed', { ...namesOf(work), message_id: answerId, usage });
      return countAnswer(sql, conversationId);
    });
    if (!conversation) return superseded;
    metrics.tasks.inc({ kind: 'turn', status: 'completed' });
    await tellEnd(work, { type: 'turn.completed', data: { message_id: answerId, text, sources, usage } });
    const { id, title, message_count } = conversation;
    const update = { conversation_id: id, title, message_count };
    await announcer.hint(`conversation:${id}`, 'conversation.updated', update);
    await announcer.hint('user', 'conversation.updated', update);
    return done;
  }

  async function fail({
    job,
    attempt,
    error,
  }: Scoped & { job: Job; attempt: ChatAttempt | undefined; error: unknown }): Promise<Outcome> {
    // Without an attempt nothing was begun, so nothing can be written down.
    if (!attempt) throw error;
    const work = workOf(attempt);
    logger.warn({ err: error, turn_id: job.id, attempt: work.attempt }, `answer failed: ${messageOf(error)}`);
    // The provider has been tried again already; somebody who waits is told rather than kept waiting. A database that was
    // away for a moment is no answer to a question: another attempt is.
    const known = error instanceof AppError && !OURS.has(error.kind) ? error : undefined;
    if (!known && work.begun.retry_count + 1 < options.maxAttempts) {
      const afterMs = backoffMs(work.begun.retry_count, { ...RETRY, random: options.random });
      const requeued = await database.tenant((sql) =>
        requeue(sql, keyOf(work), { afterMs, counted: true, error: null }),
      );
      return requeued ? retryIn(afterMs, 'internal', messageOf(error)) : superseded;
    }
    const code = known?.code ?? 'internal';
    const message = known?.message ?? 'Something went wrong on our side.';
    return endFailed(work, { code, message, retryable: known?.retryable ?? true });
  }

  async function endFailed(
    work: Work,
    { code, message, retryable }: { code: string; message: string; retryable: boolean },
  ): Promise<Outcome> {
    const { sources, usage } = work;
    const end: TurnEnd = { status: 'failed', text: textOf(work), sources, usage, error: { code, message } };
    const ended = await database.tenant(async (sql) => {
      if (!(await endTurn(sql, work.turnId, work.attempt, end))) return false;
      await appendOutbox(sql, 'turn.failed', { ...namesOf(work), error: { code, message } });
      return true;
    });
    if (!ended) return superseded;
    metrics.tasks.inc({ kind: 'turn', status: 'failed' });
    await tellEnd(work, { type: 'turn.failed', data: { code, message, retryable } });
    return failed(code, message);
  }

  async function cancel(work: Work): Promise<Outcome> {
    await work.writer?.end();
    const { sources, usage } = work;
    const text = textOf(work);
    const end: TurnEnd = { status: 'cancelled', text, sources, usage, error: null };
    const ended = await database.tenant(async (sql) => {
      if (!(await endTurn(sql, work.turnId, work.attempt, end))) return false;
      await appendOutbox(sql, 'turn.cancelled', namesOf(work));
      return true;
    });
    if (!ended) return superseded;
    metrics.tasks.inc({ kind: 'turn', status: 'cancelled' });
    await tellEnd(work, { type: 'turn.cancelled', data: { text } });
    return cancelled;
  }

  async function release(work: Work): Promise<Outcome> {
    await work.writer?.end();
    const handed = await database.tenant((sql) =>
      requeue(sql, keyOf(work), { afterMs: 0, counted: false, error: null }),
    );
    return handed ? released : superseded;
  }

  const machine = chatSession.provide({
    actors: {
      begin: effect<Scoped & { job: Job }, ChatAttempt | Outcome>(({ job }) => begin(job.id)),
      keepLease: effect(({ attempt }, signal) => {
        const work = workOf(attempt);
        const renew = () => database.tenant((sql) => renewLease(sql, keyOf(work), leaseMs));
        return keepLease({ renew, leaseMs, clock, logger, signal });
      }),
      recall: effect(({ attempt }) => recall(workOf(attempt))),
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
