/**
 * Summaries of conversations: made by the chat provider, kept, and brought further by what was said since. Each step is
 * committed with what it cost, so nothing is bought twice; of two who make the same step one is kept.
 */
import type { ConversationSummary, HistoryMessage } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import { truncate } from '../kernel/text/normalise.ts';
import {
  countMessagesAfter,
  getSummary,
  type KeptSummary,
  putSummary,
  type SettledMessage,
  settledMessages,
} from '../repositories/conversation-summaries.ts';
import { getConversation } from '../repositories/conversations.ts';
import type { Budgets } from './budgets.ts';
import type { ChatOfUser, ChatsOfUsers } from './chat-of-user.ts';
import { noConversation } from './conversations.ts';
import type { UsageMeter } from './usage-meter.ts';

export interface Summaries {
  /** Up to date, or as far as it could be brought; `messages_since` says what is not in it. */
  get(conversationId: string): Promise<ConversationSummary>;
  /** Brings it up to the messages before a position; what is kept then, whatever it took. */
  extend(
    conversationId: string,
    before: number,
    chat: ChatOfUser,
    signal: AbortSignal,
  ): Promise<KeptSummary | undefined>;
}

export interface SummariesOptions {
  database: Database;
  chats: ChatsOfUsers;
  meter: UsageMeter;
  budgets: Pick<Budgets, 'assertLeft'>;
  clock: Clock;
  ids: Ids;
}

/** Share of the model's context that one step reads. */
const STEP_SHARE = 0.4;
/** One message may take so much of a step. */
const MESSAGE_SHARE = 0.25;
const STEP_MESSAGES = 100;
/** Of one call; the next one goes on. */
const MOST_STEPS = 8;
const PATIENCE_MS = 45_000;
const LONGEST = 8_000;
const ALL = 2_147_483_647;

/** As many of the first as fit a budget, at least one; a long one is cut. */
function step(messages: readonly SettledMessage[], { provider }: ChatOfUser) {
  const budget = provider.contextTokens * STEP_SHARE;
  const longest = budget * MESSAGE_SHARE;
  const taken: HistoryMessage[] = [];
  let left = budget;
  for (const { role, content } of messages) {
    const tokens = provider.countTokens(content);
    const text = tokens > longest ? truncate(content, Math.floor((content.length * longest) / tokens)) : content;
    left -= Math.min(tokens, longest);
    if (left < 0 && taken.length > 0) break;
    taken.push({ role, content: text });
  }
  return taken;
}

export function createSummaries({ database, chats, meter, budgets, clock, ids }: SummariesOptions): Summaries {
  /** One step at a time of one conversation in this process. */
  const underWay = new Map<string, Promise<void>>();

  /** False where nothing was left to do. */
  async function advance(
    conversationId: string,
    before: number,
    chat: ChatOfUser,
    signal: AbortSignal,
  ): Promise<boolean> {
    const [kept, messages] = await database.read(async (sql) => {
      const known = await getSummary(sql, conversationId);
      const after = known?.up_to_position ?? 0;
      return [known, await settledMessages(sql, conversationId, { after, before, limit: STEP_MESSAGES })];
    });
    const taken = step(messages, chat);
    const last = messages[taken.length - 1];
    if (!last) return false;
    const { provider, language } = chat;
    await budgets.assertLeft();
    const made = await provider.summarise(
      {
        earlier: kept?.summary ?? null,
        messages: taken,
        ...(language !== undefined && { language }),
      },
      signal,
    );
    const { promptTokens, completionTokens, counted } = made;
    await database.tenant(async (sql) => {
      await meter.answered(sql, {
        turnId: ids.uuid(),
        attempt: 1,
        model: made.model,
        promptTokens,
        completionTokens,
        counted,
      });
      await putSummary(sql, conversationId, kept?.up_to_position ?? 0, {
        summary: truncate(made.text.toWellFormed().replaceAll('\0', ''), LONGEST),
        up_to_position: last.position,
        up_to_message_id: last.id,
        message_count: (kept?.message_count ?? 0) + taken.length,
      });
    });
    return true;
  }

  async function run(conversationId: string, before: number, chat: ChatOfUser, signal: AbortSignal): Promise<void> {
    for (let steps = 0; steps < MOST_STEPS; steps += 1) {
      signal.throwIfAborted();
      if (!(await advance(conversationId, before, chat, signal))) return;
    }
  }

  /** Whoever asks for what is under way waits for it; its scope is the same, since a conversation has one user. */
  function bring(conversationId: string, before: number, chat: ChatOfUser): Promise<void> {
    const id = `${currentScope().tenantId} ${conversationId} ${before}`;
    const known = underWay.get(id);
    if (known) return known;
    const patience = new AbortController();
    const cancel = clock.after(PATIENCE_MS, () =>
      patience.abort(new AppError('provider_unavailable', 'The summary takes too long.', { retryAfterMs: 5_000 })),
    );
    const running = run(conversationId, before, chat, patience.signal).finally(() => {
      cancel();
      underWay.delete(id);
    });
    underWay.set(id, running);
    return running;
  }

  return {
    async get(conversationId) {
      const settings = await database.read(async (sql) => {
        if (!(await getConversation(sql, conversationId))) throw noConversation();
        return chats.settings(sql);
      });
      const failure = await chats
        .of(settings)
        .then((chat) => bring(conversationId, ALL, chat))
        .then(
          () => undefined,
          (error: unknown) => ({ error }),
        );
      const [kept, since] = await database.read(async (sql) => {
        const summary = await getSummary(sql, conversationId);
        return [summary, await countMessagesAfter(sql, conversationId, summary?.up_to_position ?? 0)];
      });
      // What there is from before is an answer: it says how far it goes.
      if (failure && !kept) throw failure.error;
      return {
        summary: kept?.summary ?? null,
        up_to_message_id: kept?.up_to_message_id ?? null,
        message_count: kept?.message_count ?? 0,
        messages_since: since,
        updated_at: kept?.updated_at.toISOString() ?? null,
      };
    },

    async extend(conversationId, before, chat, signal) {
      await run(conversationId, before, chat, signal);
      return database.read((sql) => getSummary(sql, conversationId));
    },
  };
}
