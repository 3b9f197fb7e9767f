/** What an attempt at a turn carries from step to step, and how it is named. */
import type { ChatAttempt } from '../../actors/chat-session.ts';
import type { HistoryMessage, Passage, Source, Usage } from '../contracts/index.ts';
import { currentScope } from '../kernel/context.ts';
import type { DeltaWriter } from '../realtime/delta-writer.ts';
import type { TurnAttempt } from '../repositories/turns.ts';
import type { WeighedFact } from '../retrieval/facts.ts';
import type { CitablePassage } from '../retrieval/sources.ts';
import type { ChatOfUser } from './chat-of-user.ts';

/** Everything an attempt has made so far. */
export interface Work extends ChatAttempt {
  readonly turnId: string;
  readonly begun: TurnAttempt;
  /** How this user's questions are answered. */
  chat: ChatOfUser;
  /** What the user has noted. */
  facts: WeighedFact[];
  history: HistoryMessage[];
  /** What was said before the history, summarised. */
  earlier: string | null;
  passages: { passage: Passage; citable: CitablePassage }[];
  sources: Source[];
  writer: DeltaWriter | undefined;
  /** The answer says that the passages do not support one. */
  unsupported: boolean;
  usage: Usage;
  /** Who was asked for the answer; `told`: that `usage` is what was said with it. */
  asked: { model: string; countTokens(text: string): number; told?: { counted: boolean } } | undefined;
}

const NO_USAGE: Usage = { prompt_tokens: 0, completion_tokens: 0, cost: 0 };

/** An attempt that has begun and made nothing yet. */
export function newWork(turnId: string, begun: TurnAttempt, chat: ChatOfUser): Work {
  return {
    attempt: begun.attempt,
    turnId,
    begun,
    chat,
    facts: [],
    history: [],
    earlier: null,
    passages: [],
    sources: [],
    writer: undefined,
    unsupported: false,
    usage: NO_USAGE,
    asked: undefined,
  };
}

export const topicOf = (turnId: string) => `turn:${turnId}` as const;

/** Names of the turn, for the outbox; in the scope of who asked. */
export const namesOf = (work: Work) => ({
  turn_id: work.turnId,
  conversation_id: work.begun.conversation_id,
  user_id: currentScope().userId,
});

export const keyOf = ({ turnId, attempt }: Work) => ({ table: 'turns' as const, id: turnId, attempt });

/** What the answer says so far. */
export const textOf = (work: Work) => work.writer?.text ?? '';
