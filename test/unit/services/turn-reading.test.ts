import { describe, expect, test } from 'bun:test';
import type { EventType, Hub, TopicReader } from '../../../src/contracts/index.ts';
import { turn } from '../../../src/http/examples.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { createTurnReading } from '../../../src/services/turn-reading.ts';

const topic = `turn:${turn.id}`;

/** Tells a reader what a test says, once it listens. */
function reading(say: (reader: TopicReader, event: (type: EventType, data?: object) => void) => void) {
  let left = false;
  const hub: Hub = {
    async subscribe(_topic, reader) {
      let seq = 0;
      queueMicrotask(() =>
        say(reader, (type, data = {}) => {
          seq += 1;
          reader.event({ topic, epoch: 'e', seq, type, json: JSON.stringify({ type, data }) });
        }),
      );
      return () => {
        left = true;
      };
    },
  };
  return { ...createTurnReading({ hub, chat: { turn: async () => turn } }), hasLeft: () => left };
}

async function read(say: Parameters<typeof reading>[0], signal = new AbortController().signal) {
  const made = reading(say);
  const texts: string[] = [];
  let ended = false;
  try {
    for await (const part of made.read(turn.id, signal)) {
      if (part.type === 'text') texts.push(part.text);
      else ended = part.turn === turn;
    }
    return { texts, ended };
  } catch (error) {
    return { texts, ended, error };
  } finally {
    expect(made.hasLeft()).toBe(true);
  }
}

describe('a turn', () => {
  test('is read word by word to its end', async () => {
    const { texts, ended } = await read((_reader, tell) => {
      tell('turn.started', { attempt: 1 });
      tell('turn.delta', { text: 'You ' });
      tell('turn.delta', { text: 'have' });
      tell('turn.completed', { text: 'You have' });
    });
    expect({ texts, ended }).toEqual({ texts: ['You ', 'have'], ended: true });
  });

  test('that is begun again goes on where its reader was', async () => {
    const { texts, ended } = await read((_reader, tell) => {
      tell('turn.delta', { text: 'You have' });
      tell('turn.started', { attempt: 2 });
      tell('turn.delta', { text: 'You ' });
      tell('turn.delta', { text: 'have 30' });
      tell('turn.delta', { text: ' days' });
      tell('turn.completed', { text: 'You have 30 days' });
    });
    expect({ texts, ended }).toEqual({ texts: ['You have', ' 30', ' days'], ended: true });
  });

  test('that is begun again and says something else ends with an error, for its reader cannot be told', async () => {
    const { texts, error } = await read((_reader, tell) => {
      tell('turn.delta', { text: 'You have' });
      tell('turn.started', { attempt: 2 });
      tell('turn.delta', { text: 'Your' });
    });
    expect(texts).toEqual(['You have']);
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ kind: 'unavailable' });
  });

  test('whose log was lost is told from its row', async () => {
    const { texts, ended } = await read((reader, tell) => {
      tell('turn.delta', { text: 'You ' });
      reader.reset({ topic, epoch: 'f', seq: 9, snapshot: { status: 'completed', text: 'You have' } });
    });
    expect({ texts, ended }).toEqual({ texts: ['You ', 'have'], ended: true });
  });

  test.each(['turn.failed', 'turn.cancelled'] as const)('is over with %s', async (type) => {
    expect(await read((_reader, tell) => tell(type))).toEqual({ texts: [], ended: true });
  });

  test('is read no further when this node goes away, or its reader does', async () => {
    const gone = await read((reader) => reader.over?.());
    expect(gone.error).toMatchObject({ kind: 'unavailable' });
    const leaving = new AbortController();
    const left = await read((_reader, tell) => {
      tell('turn.delta', { text: 'You' });
      queueMicrotask(() => leaving.abort(new Error('left')));
    }, leaving.signal);
    expect(left.error).toMatchObject({ message: 'left' });
  });

  test('is not fed more than its reader takes', async () => {
    let full: Promise<void> | null = null;
    const made = reading((reader, tell) => {
      for (let count = 0; count < 300 && !full; count++) {
        tell('turn.delta', { text: 'x' });
        full = reader.ready?.() ?? null;
      }
      void full?.then(() => tell('turn.completed', { text: 'x'.repeat(256) }));
    });
    let text = '';
    for await (const part of made.read(turn.id, new AbortController().signal))
      if (part.type === 'text') text += part.text;
    expect(full).not.toBeNull();
    expect(text).toBe('x'.repeat(256));
  });
});
