/** Asking: a message becomes a committed turn, whose answer a worker streams to the turn's topic. */
import type { HistoryMessage, Hub, IfBusy, SearchFilter, TurnReceipt, TurnResource } from '../contracts/index.ts';
import { FINAL_EVENTS } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import { type Ids, laterThan } from '../kernel/ids.ts';
import { truncate } from '../kernel/text/normalise.ts';
import { traceparentOf } from '../kernel/trace.ts';
import type { Feeder } from '../queue/feeder.ts';
import type { Control } from '../realtime/control.ts';
import {
  type ConversationKind,
  insertConversation,
  insertEarlier,
  insertMessage,
  takeTurnNumber,
} from '../repositories/conversations.ts';
import { appendOutbox } from '../repositories/outbox.ts';
import {
  type CancelledTurn,
  cancelTurn,
  cancelUnfinished,
  findByClientMessage,
  getTurn,
  insertTurn,
  unfinishedTurns,
} from '../repositories/turns.ts';
import type { Announcer } from './announcer.ts';
import type { Budgets } from './budgets.ts';
import { noConversation } from './conversations.ts';
import { assertFilter } from './search.ts';

export interface ChatMessage {
  /** Absent: a new conversation. */
  conversationId?: string | undefined;
  content: string;
  /** Sending the same one twice makes one turn. */
  clientMessageId?: string | undefined;
  model?: string | undefined;
  filter?: SearchFilter | undefined;
  /** Default `queue`. */
  ifBusy?: IfBusy | undefined;
  /** What this turn asks for beside the user's own wishes. */
  instructions?: string | undefined;
  /** The new conversation is a client's, who brings what was said in it before: oldest first, the newest that fit are kept. */
  begins?: { kind: Exclude<ConversationKind, 'chat'>; earlier: readonly HistoryMessage[] } | undefined;
  /** Runs in the accepting transaction of a new turn: what must be there if the turn is, and only then. */
  within?: ((sql: Sql, receipt: TurnReceipt) => Promise<void>) | undefined;
}

export interface Chat {
  send(message: ChatMessage): Promise<TurnReceipt>;
  turn(turnId: string): Promise<TurnResource>;
  /** Stops a turn that waits or runs; fine for one that has ended. Answers with the turn as it is then. */
  cancel(turnId: string): Promise<TurnResource>;
  /** Resolves when the turn has ended, however it ended; rejects with the signal's reason when it aborts first. */
  finished(turnId: string, signal: AbortSignal): Promise<TurnResource>;
}

export interface ChatOptions {
  database: Database;
  hub: Hub;
  announcer: Announcer;
  feeder: Pick<Feeder, 'nudge'>;
  control: Pick<Control, 'publishCancel'>;
  clock: Clock;
  ids: Ids;
  budgets: Pick<Budgets, 'admitTurn'>;
}

const MAX_CONTENT = 32_000;
const TITLE_LENGTH = 80;
/** No answer looks further back (`answering-steps.ts`). */
const MOST_EARLIER = 40;
/** A turn's end is announced; where the announcement is lost, it is seen by looking. */
const LOOK_EVERY_MS = 1_000;

const storable = (text: string) => text.toWellFormed().replaceAll('\0', '');

const hasEnded = (turn: TurnResource) => turn.status !== 'queued' && turn.status !== 'running';

function assertContent(content: string): void {
  const problem =
    content.trim() === ''
      ? 'a message needs text'
      : content.length > MAX_CONTENT
        ? `at most ${MAX_CONTENT} characters`
        : undefined;
  if (problem)
    throw new AppError('invalid_request', 'The message is not valid.', {
      errors: [{ path: 'content', message: problem }],
    });
}

export function createChat({ database, hub, announcer, feeder, control, clock, ids, budgets }: ChatOptions): Chat {
  async function ask(sql: Sql, message: ChatMessage): Promise<Asked> {
    const clientMessageId = message.clientMessageId ?? null;
    const known = clientMessageId === null ? undefined : await findByClientMessage(sql, clientMessageId);
    if (known) return { receipt: known, isNew: false, stopped: [] };

    const conversationId = message.conversationId ?? ids.uuid();
    if (message.conversationId === undefined) {
      const { kind, earlier = [] } = message.begins ?? {};
      await insertConversation(sql, conversationId, null, kind);
      const kept = earlier.slice(-MOST_EARLIER).map(({ role, content }) => ({ role, content: storable(content) }));
      await insertEarlier(
        sql,
        conversationId,
        kept.map((one) => ({ ...one, id: ids.uuid() })),
      );
    }
    const { ifBusy = 'queue' } = message;
    const stopped = ifBusy === 'interrupt' ? await cancelUnfinished(sql, conversationId) : [];
    const title = truncate(message.content.trim().replace(/\s+/g, ' '), TITLE_LENGTH);
    // Holds the conversation's row: two messages at once become two turns, one after the other.
    const turn = await takeTurnNumber(sql, conversationId, title);
    if (turn === undefined) throw noConversation();
    // What came between is seen now that nothing more can come.
    if (ifBusy === 'interrupt') stopped.push(...(await cancelUnfinished(sql, conversationId, { skipLocked: true })));
    const unfinished = message.conversationId === undefined ? [] : await unfinishedTurns(sql, conversationId);
    if (ifBusy === 'reject' && unfinished.length > 0) {
      throw new AppError('conflict', 'Another turn of the conversation is unfinished.');
    }

    await recordCancelled(sql, stopped);

    // Turns are answered in the order of their ids, and whoever took the one before may have had another clock.
    const turnId = laterThan(ids.uuid(), unfinished);
    const receipt = { turn_id: turnId, message_id: ids.uuid(), conversation_id: conversationId };
    await insertMessage(sql, {
      id: receipt.message_id,
      conversationId,
      position: 2 * turn - 1,
      role: 'user',
      content: storable(message.content),
      sources: [],
      turnId: receipt.turn_id,
      parentId: null,
    });
    const inserted = await insertTurn(sql, {
      id: receipt.turn_id,
      conversationId,
      messageId: receipt.message_id,
      answerId: ids.uuid(),
      clientMessageId,
      model: message.model ?? null,
      filter: message.filter ?? {},
      instructions: message.instructions === undefined ? null : storable(message.instructions),
      traceparent: traceparentOf(currentScope()),
    });
    // The same message was sent twice at once and the other one came first: this transaction is undone.
    if (!inserted) throw new SentTwice();
    await message.within?.(sql, receipt);
    // Last: every message of a tenant with a budget waits for its row until we commit.
    await budgets.admitTurn(sql, receipt.turn_id, { content: message.content, model: message.model ?? null });
    return { receipt, isNew: true, stopped };
  }

  /** One that runs ends itself, and records that. */
  async function recordCancelled(sql: Sql, turns: readonly CancelledTurn[]): Promise<void> {
    for (const { id, status, conversation_id } of turns) {
      if (status === 'running') continue;
      await appendOutbox(sql, 'turn.cancelled', { turn_id: id, conversation_id, user_id: currentScope().userId });
    }
  }

  async function tellStopped({ id, status, attempt }: CancelledTurn): Promise<void> {
    // A running attempt ends itself and says so.
    if (status === 'running') await control.publishCancel('turn', id);
    else {
      await announcer.log(`turn:${id}`, attempt, 'turn.cancelled', { text: '' });
      feeder.nudge('chat', currentScope().tenantId);
    }
  }

  async function turn(turnId: string): Promise<TurnResource> {
    const record = await database.tenant((sql) => getTurn(sql, turnId));
    if (!record) throw new AppError('not_found', 'There is no such turn.');
    const { answer_id: _answer, ...resource } = record;
    return resource;
  }

  return {
    turn,

    async send(message) {
      assertContent(message.content);
      if (message.filter) assertFilter(message.filter);
      let asked: Asked;
      try {
        asked = await database.tenant((sql) => ask(sql, message));
      } catch (error) {
        if (!(error instanceof SentTwice)) throw error;
        asked = await database.tenant((sql) => ask(sql, message));
      }
      const { receipt, isNew, stopped } = asked;
      for (const one of stopped) await tellStopped(one);
      if (isNew) {
        await announcer.log(`turn:${receipt.turn_id}`, 0, 'turn.queued', receipt);
        feeder.nudge('chat', currentScope().tenantId);
      }
      return receipt;
    },

    async cancel(turnId) {
      const ended = await database.tenant(async (sql) => {
        const turn = await cancelTurn(sql, turnId);
        if (turn) await recordCancelled(sql, [turn]);
        return turn;
      });
      if (ended) await tellStopped(ended);
      return turn(turnId);
    },

    async finished(turnId, signal) {
      let look = Promise.withResolvers<void>();
      const reader = {
        event: ({ type }: { type: Parameters<typeof FINAL_EVENTS.has>[0] }) => {
          if (FINAL_EVENTS.has(type)) look.resolve();
        },
        reset: () => look.resolve(),
      };
      const unsubscribe = await hub.subscribe(`turn:${turnId}`, reader);
      try {
        for (;;) {
          const now = await turn(turnId);
          if (hasEnded(now)) return now;
          const pause = new AbortController();
          await Promise.race([
            look.promise,
            clock.sleep(LOOK_EVERY_MS, AbortSignal.any([signal, pause.signal])),
          ]).finally(() => pause.abort());
          signal.throwIfAborted();
          look = Promise.withResolvers<void>();
        }
      } finally {
        unsubscribe();
      }
    },
  };
}

interface Asked {
  receipt: TurnReceipt;
  isNew: boolean;
  /** What made room for it. */
  stopped: readonly CancelledTurn[];
}

class SentTwice extends Error {}
