/**
 * Responses, as clients of OpenAI's API know them: turns that are found again. Each begins a conversation of its own with what
 * was said before, so that two may follow the same one, and deleting one takes nothing from another. In the background a
 * response goes on when its client goes, and is read again from any point; else it ends with its client.
 */
import type { HistoryMessage, TurnResource } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { recentMessages } from '../repositories/conversations.ts';
import { getResponse, insertResponse, type ResponseRow } from '../repositories/responses.ts';
import type { Asking } from './asking.ts';
import type { Chat, ChatMessage } from './chat.ts';
import type { Conversations } from './conversations.ts';
import type { TurnPart, TurnReading } from './turn-reading.ts';

/** Everything that is known of a response. */
export interface KnownResponse<T> extends ResponseRow<T> {
  turn: TurnResource;
}

export interface NewResponse<T> {
  message: Omit<ChatMessage, 'begins' | 'within' | 'conversationId'>;
  /** What the client says was said before, after what the previous response knows. */
  earlier: readonly HistoryMessage[];
  /** The turn of the response that this one follows. */
  previous: string | null;
  background: boolean;
  /** Whether it is to be found again. */
  stored: boolean;
  request: T;
}

export interface Responses {
  /**
   * Commits the question. `parts` is the answer while it is written, until the signal aborts; a response that is not in the
   * background is cancelled then. Throws `not_found` where the previous response is not there, `conflict` while it is
   * unfinished, and what `Chat.send` throws.
   */
  create<T extends object>(
    response: NewResponse<T>,
    signal: AbortSignal,
  ): Promise<{ response: KnownResponse<T>; parts: AsyncGenerator<TurnPart> }>;
  /** Throws `not_found`. */
  get<T>(id: string): Promise<KnownResponse<T>>;
  /** The answer from its beginning, while it is written or once it has been. */
  read(id: string, signal: AbortSignal): AsyncGenerator<TurnPart>;
  /** Throws `conflict` for one that is not in the background. */
  cancel<T>(id: string): Promise<KnownResponse<T>>;
  remove(id: string): Promise<void>;
}

export interface ResponsesOptions {
  database: Database;
  chat: Pick<Chat, 'send' | 'turn' | 'cancel'>;
  asking: Asking;
  reading: TurnReading;
  conversations: Pick<Conversations, 'remove'>;
  clock: Clock;
}

/** As many as any answer looks back at. */
const MOST_EARLIER = 40;
const LAST = 2 ** 31 - 1;

const noResponse = () => new AppError('not_found', 'There is no such response.');

export function createResponses(options: ResponsesOptions): Responses {
  const { database, chat, asking, reading, conversations, clock } = options;

  async function get<T>(id: string): Promise<KnownResponse<T>> {
    const row = await database.tenant((sql) => getResponse<T>(sql, id));
    if (!row) throw noResponse();
    return { ...row, turn: await chat.turn(id) };
  }

  /** What was said up to the end of a response. */
  async function saidUpTo(id: string): Promise<HistoryMessage[]> {
    const { turn } = await get(id);
    if (turn.status === 'queued' || turn.status === 'running') {
      throw new AppError('conflict', 'The previous response is not finished.');
    }
    const newest = await database.tenant((sql) =>
      recentMessages(sql, turn.conversation_id, { position: LAST, limit: MOST_EARLIER }),
    );
    return newest.map(({ role, content }) => ({ role, content })).reverse();
  }

  return {
    get,

    async create(response, signal) {
      const { previous, background, stored, request } = response;
      const before = previous === null ? [] : await saidUpTo(previous);
      const message: ChatMessage = {
        ...response.message,
        begins: { kind: stored ? 'response' : 'completion', earlier: [...before, ...response.earlier] },
        ...(stored && {
          within: (sql, { turn_id }) =>
            insertResponse(sql, { turn_id, previous_turn_id: previous, background, request }),
        }),
      };
      const asked = background
        ? await chat.send(message).then(({ turn_id: turnId }) => ({ turnId, parts: reading.read(turnId, signal) }))
        : await asking.ask(message, signal);
      const { turnId: turn_id, parts } = asked;
      const row = { turn_id, previous_turn_id: previous, background, request, created_at: new Date(clock.now()) };
      return { response: { ...row, turn: await chat.turn(turn_id) }, parts };
    },

    read: (id, signal) => reading.read(id, signal),

    async cancel<T>(id: string) {
      const response = await get<T>(id);
      if (!response.background) throw new AppError('conflict', 'Only a response in the background can be cancelled.');
      return { ...response, turn: await chat.cancel(id) };
    },

    async remove(id) {
      const { turn } = await get(id);
      await conversations.remove(turn.conversation_id);
    },
  };
}
