/**
 * A question whose answer is read while it is written, by whoever asked and once. Nobody can come back to it: when its
 * reader goes before its end, it is cancelled, so that nobody pays for what nobody reads.
 */

import type { TurnResource } from '../contracts/index.ts';
import { currentScope, runAs, type Scope } from '../kernel/context.ts';
import { AppError, ERROR_KINDS, type ErrorKind } from '../kernel/errors.ts';
import type { Chat, ChatMessage } from './chat.ts';
import type { TurnPart, TurnReading } from './turn-reading.ts';

export interface Asking {
  /**
   * Commits the question; what follows is the answer, as `TurnReading` gives it. Left before its end, by `return` or by the
   * signal, the turn is cancelled. Throws what `Chat.send` throws.
   */
  ask(message: ChatMessage, signal: AbortSignal): Promise<{ turnId: string; parts: AsyncGenerator<TurnPart> }>;
}

/** Throws what a turn that ended without an answer means to whoever waited for one. */
export function assertAnswered(turn: TurnResource): void {
  if (turn.status === 'completed') return;
  if (turn.status === 'cancelled') throw new AppError('conflict', 'The answer was cancelled before it was complete.');
  const { code, message } = turn.error ?? { code: 'internal', message: '' };
  const kind = Object.hasOwn(ERROR_KINDS, code) ? (code as ErrorKind) : 'internal';
  if (kind !== 'internal') throw new AppError(kind, message);
  throw new AppError('internal', 'The answer failed.', { cause: new Error(`turn ${turn.id}: ${code} ${message}`) });
}

export function createAsking({ chat, reading }: { chat: Pick<Chat, 'send' | 'cancel'>; reading: TurnReading }): Asking {
  async function* until(turnId: string, signal: AbortSignal, scope: Scope): AsyncGenerator<TurnPart> {
    let ended = false;
    try {
      for await (const part of reading.read(turnId, signal)) {
        ended = part.type === 'ended';
        yield part;
      }
    } finally {
      // Who lets go of a generator may do so from anywhere.
      if (!ended) await runAs(scope, () => chat.cancel(turnId));
    }
  }

  return {
    async ask(message, signal) {
      const scope = currentScope();
      const { turn_id: turnId } = await chat.send(message);
      if (signal.aborted) {
        await chat.cancel(turnId);
        signal.throwIfAborted();
      }
      return { turnId, parts: until(turnId, signal, scope) };
    },
  };
}
