/** What an attempt at a turn does until its answer is whole: it recalls, retrieves, generates and checks. */
import type { EventOf, EventPublisher, HistoryMessage } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { baseLanguage, detectLanguage } from '../kernel/text/language.ts';
import { createDeltaWriter } from '../realtime/delta-writer.ts';
import { recentMessages } from '../repositories/conversations.ts';
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
import type { Search } from './search.ts';

export interface AnsweringStepsOptions {
  database: Database;
  search: Pick<Search, 'hits'>;
  chats: ChatsOfUsers;
  publisher: EventPublisher;
  announcer: Announcer;
  clock: Clock;
  logger: Logger;
  metrics: Metrics;
}

const MAX_HISTORY = 40;
/** Shares of the model's context: what is left is the answer's and the instructions'. */
const HISTORY_SHARE = 0.2;
const PASSAGE_SHARE = 0.45;
const RETRIEVED = 24;
const PASSAGES = 8;
/** So many of the best passages are read with the chunks around them. */
const WITH_NEIGHBOURS = 3;

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

  async function recall(work: Work): Promise<void> {
    const { conversation_id: conversationId, position } = work.begun;
    const [recent, settings, noted] = await database.read((sql) =>
      Promise.all([
        recentMessages(sql, conversationId, { position, limit: MAX_HISTORY }),
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
    work.history = withinBudget(recent, provider.contextTokens * HISTORY_SHARE, (text) => provider.countTokens(text));
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
