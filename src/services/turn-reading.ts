/**
 * A turn as whoever asked reads it once, from its first word to its end: text that was handed out is never taken back.
 * Where another attempt writes the answer anew, what it says is held back until it goes beyond what was read; where it says
 * something else, the reading ends with an error, because its reader could not be told.
 */
import type { EventData, Hub, HubEvent, TurnResource } from '../contracts/index.ts';
import { FINAL_EVENTS } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import type { Chat } from './chat.ts';

export type TurnPart =
  /** The next words. */
  | { type: 'text'; text: string }
  /** However it ended; the last part. Its text is what was read, where it completed. */
  | { type: 'ended'; turn: TurnResource };

export interface TurnReading {
  /**
   * Rejects with the signal's reason when it aborts first, with `unavailable` where this node goes away, and with `not_found`
   * where there is no such turn (any more).
   */
  read(turnId: string, signal: AbortSignal): AsyncGenerator<TurnPart, void, undefined>;
}

/** Events that wait to be read before the hub is asked to stop. */
const MOST_WAITING = 256;

interface Told {
  /** The whole text so far, or what comes after it. */
  text?: string;
  more?: string;
  /** A new attempt writes. */
  anew?: boolean;
  ended?: boolean;
}

function toldBy({ type, json }: HubEvent): Told {
  const data = () => (JSON.parse(json) as { data: EventData[keyof EventData] }).data;
  switch (type) {
    case 'turn.started':
      return { anew: true };
    case 'turn.delta':
      return { more: (data() as EventData['turn.delta']).text };
    case 'turn.completed':
      return { text: (data() as EventData['turn.completed']).text, ended: true };
    default:
      return FINAL_EVENTS.has(type) ? { ended: true } : {};
  }
}

/** Hands out a text as it grows, in one piece. */
function createGrowth() {
  let given = '';
  /** What the attempt has written while it repeats what was given. */
  let again: string | undefined;

  function beyond(text: string): string {
    if (text.length <= given.length) {
      if (given.startsWith(text)) return '';
    } else if (text.startsWith(given)) {
      const more = text.slice(given.length);
      given = text;
      again = undefined;
      return more;
    }
    throw new AppError('unavailable', 'The answer had to be begun again and says something else now: ask once more.');
  }

  return {
    anew(): string {
      again = given === '' ? undefined : '';
      return '';
    },
    more(text: string): string {
      if (again === undefined) {
        given += text;
        return text;
      }
      again += text;
      return beyond(again);
    },
    whole(text: string): string {
      again = text;
      return beyond(text);
    },
  };
}

export function createTurnReading({ hub, chat }: { hub: Hub; chat: Pick<Chat, 'turn'> }): TurnReading {
  return {
    async *read(turnId, signal) {
      const waiting: Told[] = [];
      let wake = Promise.withResolvers<void>();
      let room = Promise.withResolvers<void>();
      let over = false;
      const tell = (told: Told) => {
        waiting.push(told);
        wake.resolve();
      };
      const leave = () => wake.resolve();
      signal.addEventListener('abort', leave, { once: true });
      const growth = createGrowth();
      const unsubscribe = await hub.subscribe(`turn:${turnId}`, {
        event: (event) => tell(toldBy(event)),
        reset: ({ snapshot: { text, status } }) =>
          tell({
            ...(typeof text === 'string' && { text }),
            ended: status === 'completed' || status === 'failed' || status === 'cancelled',
          }),
        over() {
          over = true;
          wake.resolve();
        },
        ready() {
          if (waiting.length < MOST_WAITING) return null;
          room = Promise.withResolvers<void>();
          return room.promise;
        },
      });
      try {
        for (;;) {
          signal.throwIfAborted();
          const told = waiting.shift();
          if (told === undefined) {
            if (over)
              throw new AppError('unavailable', 'This server is going away: ask again.', { retryAfterMs: 1_000 });
            room.resolve();
            await wake.promise;
            wake = Promise.withResolvers<void>();
            continue;
          }
          const text =
            told.more !== undefined ? growth.more(told.more) : told.text !== undefined ? growth.whole(told.text) : '';
          if (told.anew) growth.anew();
          if (text !== '') yield { type: 'text', text };
          if (told.ended) {
            yield { type: 'ended', turn: await chat.turn(turnId) };
            return;
          }
        }
      } finally {
        signal.removeEventListener('abort', leave);
        unsubscribe();
      }
    },
  };
}
