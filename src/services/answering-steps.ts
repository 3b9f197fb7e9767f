/** What an attempt at a turn does until its answer is whole: it recalls, retrieves, generates and checks. */
import type { EventOf, EventPublisher, HistoryMessage } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { baseLanguage, detectLanguage } from '../kernel/text/language.ts';
import { createDeltaWriter } from '../realtime/delta-writer.ts';
import { getSummary, type KeptSummary } from '../repositories/conversation-summaries.ts';
import { type RecentMessage, recentMessages } from '../repositories/conversations.ts';
import { withStates } from '../repositories/document-texts.ts';
import { getHits, getNeighbours } from '../repositories/search.ts';
import { readMemories } from '../repositories/structured-memories.ts';
import { createAnswerFilter } from '../retrieval/answer-filter.ts';
import { weighFacts } from '../retrieval/facts.ts';
import { standaloneQuery } from '../retrieval/follow-up.ts';
import { packPassages, withNeighbours } from '../retrieval/packing.ts';
import { recheck, sourceFor, sourcesOf, unsupportedNotice } from '../retrieval/sources.ts';
import type { Announcer } from './announcer.ts';
import { textOf, topicOf, type Work } from './answering-work.ts';
import type { ChatsOfUsers } from './chat-of-user.ts';
import type { Summaries } from './conversation-summaries.ts';
import type { Search } from './search.ts';

export interface AnsweringStepsOptions {
  database: Database;
  search: Pick<Search, 'hits'>;
  chats: ChatsOfUsers;
  summaries: Pick<Summaries, 'extend'>;
  publisher: EventPublisher;
  announcer: Announcer;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

const MAX_HISTORY = 40;
/** A summary is brought up to these latest messages, so that it serves until the history is full again. */
const LATEST = 10;
/** Longer nobody waits for a summary: the answer does without what was said so long ago. */
const SUMMARY_MS = 20_000;
/** Shares of the model's context: what is left is the answer's and the instructions'. */
const HISTORY_SHARE = 0.2;
const PASSAGE_SHARE = 0.45;
const RETRIEVED = 24;
const PASSAGES = 8;
/** So many of the best passages are read with the chunks around them. */
const WITH_NEIGHBOURS = 3;

/** How many of the newest messages fit the budget. */
function fitting(
  newestFirst: readonly HistoryMessage[],
  budgetTokens: number,
  countTokens: (text: string) => number,
): number {
  let left = budgetTokens;
  const cut = newestFirst.findIndex(({ content }) => {
    left -= countTokens(content);
    return left < 0;
  });
  return Math.min(cut === -1 ? newestFirst.length : cut, MAX_HISTORY);
}

/** Everything that the answer was given to read: an address that stands there may stand in the answer. */
function isKnownIn({ begun, passages, history, chat, facts }: Work): (url: string) => boolean {
  const texts = [
    begun.question,
    chat.customPrompt ?? '',
    ...facts.map(({ text }) => text),
    ...passages.map(({ passage }) => passage.text),
    ...history.map(({ content }) => content),
  ];
  return (url) => texts.some((text) => text.includes(url));
}

/** Each runs in the scope of who asked, changes `work`, and throws what the attempt is to fail with. */
export function createAnsweringSteps(options: AnsweringStepsOptions) {
  const { database, chats, publisher, announcer, clock, logger, metrics } = options;

  /**
   * What was said before the history, for as long as it is any; null where the history is all. A summary that does not reach
   * the history yet is brought on, at once for many turns; where that fails, the answer does with what there is.
   */
  async function recallEarlier(
    work: Work,
    { recent, held, kept }: { recent: readonly RecentMessage[]; held: number; kept: KeptSummary | undefined },
    signal: AbortSignal,
  ): Promise<string | null> {
    const leftOut = recent[held];
    // A client that brings along what was said decides itself what an answer is to know of it.
    if (!leftOut || leftOut.turn_id === null) return null;
    if (kept && kept.up_to_position >= leftOut.position) return kept.summary;
    const before = recent[Math.min(held, LATEST) - 1]?.position ?? work.begun.position;
    const limit = new AbortController();
    const cancel = clock.after(SUMMARY_MS, () => limit.abort(new Error('the summary took too long')));
    try {
      const { conversation_id: id } = work.begun;
      const extended = await options.summaries.extend(id, before, work.chat, AbortSignal.any([signal, limit.signal]));
      return extended?.summary ?? null;
    } catch (error) {
      signal.throwIfAborted();
      logger.warn(
        { err: error, turn_id: work.turnId },
        `answered without all that was said before: ${messageOf(error)}`,
      );
      return kept?.summary ?? null;
    } finally {
      cancel();
    }
  }

  async function recall(work: Work, signal: AbortSignal): Promise<void> {
    const { conversation_id: conversationId, position } = work.begun;
    const [recent, kept, settings, noted] = await database.read((sql) =>
      Promise.all([
        recentMessages(sql, conversationId, { position, limit: MAX_HISTORY + 1 }),
        getSummary(sql, conversationId),
        chats.settings(sql),
        readMemories(sql),
      ]),
    );
    work.facts = weighFacts(noted, work.begun.question);
    work.chat = await chats.of(settings);
    const { instructions } = work.begun;
    if (instructions !== null) {
      const wishes = [work.chat.customPrompt, instructions].filter((one) => one !== undefined);
      work.chat = { ...work.chat, customPrompt: wishes.join('\n\n') };
    }
    const { provider } = work.chat;
    const held = fitting(recent, provider.contextTokens * HISTORY_SHARE, (text) => provider.countTokens(text));
    work.history = recent
      .slice(0, held)
      .reverse()
      .map(({ role, content }) => ({ role, content }));
    work.earlier = await recallEarlier(work, { recent, held, kept }, signal);
  }

  async function retrieve(work: Work, signal: AbortSignal): Promise<void> {
    const { question, filter } = work.begun;
    const { provider } = work.chat;
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
      const { title, page, headings, score, document_id, version } = hit;
      const n = index + 1;
      return {
        passage: { n, title, page, headings, text, score },
        citable: { n, document_id, version, title, chunks },
      };
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
    const { question } = work.begun;
    const { provider, ...wishes } = work.chat;
    const { language } = wishes;
    const model = work.begun.model ?? wishes.model;
    work.asked = {
      model: provider.provider === 'builtin' ? provider.model : (model ?? provider.model),
      countTokens: (text) => provider.countTokens(text),
    };
    const answer = provider.answer(
      {
        question,
        history: work.history,
        facts: work.facts,
        ...(work.earlier !== null && { summary: work.earlier }),
        passages: work.passages.map(({ passage }) => passage),
        ...wishes,
        ...(model !== undefined && { model }),
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
          work.asked.told = { counted: part.counted ?? false };
        }
      }
      tell(filter.end());
      // Committed, it would be an answer that says nothing; nobody has read anything yet.
      if (textOf(work).trim() === '') throw new AppError('provider_unavailable', 'The model gave no answer.');
      work.sources = work.unsupported
        ? []
        : sourcesOf(
            textOf(work),
            work.passages.map(({ citable }) => citable),
          );
      // It cited what there is not, and nothing else stands behind it: its reader is told, where one that cites nothing says so.
      if (work.sources.length === 0 && !work.unsupported && filter.dropped > 0) {
        tell(unsupportedNotice(language === undefined ? detectLanguage(question) : baseLanguage(language)));
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
    const ids = work.sources.map(({ chunk_id: id }) => id);
    const [rows, sources] = await database.tenant(async (sql) => {
      // In this order: a chunk that was replaced before it was looked for is known to be replaced afterwards.
      const hits = await getHits(sql, ids);
      const [told] = await withStates(sql, [{ sources: work.sources }]);
      return [hits, told?.sources ?? []];
    });
    work.sources = recheck(sources, new Map(rows.map(({ chunk_id: id, text }) => [id, text])));
    const failed = work.sources.filter(({ verified }) => !verified).length;
    if (failed > 0) metrics.citationsUnverified.inc(failed);
  }

  return { recall, retrieve, generate, checkCitations };
}
