import { describe, expect, test } from 'bun:test';
import type { EventOf, EventPublisher, LogAppend } from '../../../src/contracts/index.ts';
import { runAs, scopeIfAny } from '../../../src/kernel/context.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { createDeltaWriter } from '../../../src/realtime/delta-writer.ts';
import { createManualClock } from '../../support/manual-clock.ts';
import { completed, someone, turnTopic } from '../../support/realtime.ts';

/** A publisher that answers when it is told to. */
function setUp(options: { attempt?: number } = {}) {
  const scope = someone();
  const clock = createManualClock();
  const calls: { appends: readonly LogAppend[]; scope: unknown; answer: PromiseWithResolvers<boolean[]> }[] = [];
  const publisher: EventPublisher = {
    append(appends) {
      const answer = Promise.withResolvers<boolean[]>();
      calls.push({ appends, scope: scopeIfAny(), answer });
      return answer.promise;
    },
    hint: async () => undefined,
  };
  const topic = turnTopic();
  const writer = runAs(scope, () =>
    createDeltaWriter({ publisher, topic, attempt: options.attempt ?? 1, clock, logger: silentLogger }),
  );
  const texts = () => calls.map(({ appends }) => appends.map(({ event }) => told(event)));
  /** Answers the newest append and lets the writer go on. */
  async function answer(outcome: boolean | Error = true): Promise<void> {
    const call = calls.at(-1);
    if (outcome instanceof Error) call?.answer.reject(outcome);
    else call?.answer.resolve(call.appends.map(() => outcome));
    for (let i = 0; i < 10; i++) await null;
  }
  return { scope, clock, calls, writer, texts, answer, topic };
}

const told = (event: EventOf) => (event.type === 'turn.delta' ? event.data.text : event.type);

describe('a delta', () => {
  test('leaves at once when it is the first', () => {
    const { writer, texts } = setUp();
    writer.write('a');
    expect(texts()).toEqual([['a']]);
  });

  test('is gathered with others for the window', async () => {
    const { writer, texts, answer, clock } = setUp();
    writer.write('a');
    await answer();
    for (const piece of 'bcd') writer.write(piece);
    clock.advance(19);
    expect(texts()).toEqual([['a']]);
    clock.advance(1);
    expect(texts()).toEqual([['a'], ['bcd']]);
  });

  test('leaves at once when nothing was written for a window', async () => {
    const { writer, texts, answer, clock } = setUp();
    writer.write('a');
    await answer();
    clock.advance(20);
    writer.write('b');
    expect(texts()).toEqual([['a'], ['b']]);
  });

  test('leaves when enough bytes are gathered, counted as UTF-8', async () => {
    const { writer, texts, answer } = setUp();
    writer.write('a');
    await answer();
    writer.write('é'.repeat(127));
    expect(texts().length).toBe(1);
    writer.write('é');
    expect(texts()).toEqual([['a'], ['é'.repeat(128)]]);
  });

  test('waits for the append that is under way', async () => {
    const { writer, texts, answer, clock } = setUp();
    writer.write('a');
    writer.write('b'.repeat(1_000));
    clock.advance(1_000);
    expect(texts()).toEqual([['a']]);
    await answer();
    expect(texts()).toEqual([['a'], ['b'.repeat(1_000)]]);
  });

  test('never ends or begins inside a surrogate pair', async () => {
    const { writer, texts, answer } = setUp();
    writer.write('x\ud83d');
    await answer();
    const flushed = writer.flush();
    writer.write('\udc4by');
    await flushed;
    void writer.flush();
    await answer();
    expect(texts()).toEqual([['x'], ['👋y']]);
    expect(writer.text).toBe('x👋y');
  });

  test('holds no half pair and no NUL, because no database would', async () => {
    const { writer, texts, answer } = setUp();
    writer.write('a\ude00b\0\ud83d');
    await answer();
    void writer.end();
    await answer();
    expect(texts()).toEqual([['a\ufffdb'], ['\ufffd']]);
    expect(writer.text).toBe('a\ufffdb\ufffd');
  });

  test('is appended in the scope in which the writer was made', async () => {
    const { writer, calls, scope, answer, clock } = setUp();
    writer.write('a');
    await answer();
    runAs(someone(), () => writer.write('b'));
    clock.advance(20);
    expect(calls.map((call) => call.scope)).toEqual([scope, scope]);
  });
});

describe('a writer', () => {
  test('that was fenced appends nothing more', async () => {
    const { writer, texts, answer, clock } = setUp();
    writer.write('a');
    writer.write('b');
    await answer(false);
    expect(writer.fenced).toBe(true);
    clock.advance(100);
    await writer.flush();
    expect(await writer.finish(completed('ab'))).toBe(false);
    expect(texts()).toEqual([['a']]);
  });

  test('offers what it has told, should the log be gone', async () => {
    const { writer, calls, answer, clock } = setUp();
    writer.write('a');
    await answer();
    writer.write('b');
    clock.advance(20);
    expect(calls[0]?.appends[0]?.restore?.().map(told)).toEqual(['turn.started', 'a']);
    expect(calls[1]?.appends[0]?.restore?.().map(told)).toEqual(['turn.started', 'a']);
    await answer();
    expect(calls[1]?.appends[0]?.restore?.().map(told)).toEqual(['turn.started', 'ab']);
  });

  test('begins the log anew, with all of its text, after an append whose fate is unknown', async () => {
    const { writer, calls, texts, answer, clock } = setUp();
    writer.write('a');
    await answer(new AppError('unavailable', 'gone'));
    writer.write('b');
    clock.advance(20);
    expect(texts().at(-1)).toEqual(['turn.started', 'a', 'b']);
    expect(calls.at(-1)?.appends.map(({ rebuild }) => rebuild)).toEqual([true, undefined, undefined]);
    await answer();
    clock.advance(20);
    writer.write('c');
    expect(texts().at(-1)).toEqual(['c']);
  });

  test('ends with the final event after all of its text', async () => {
    const { writer, texts, answer } = setUp();
    writer.write('a');
    writer.write('b');
    const finished = writer.finish(completed('ab'));
    await answer();
    await answer();
    await answer();
    expect(await finished).toBe(true);
    expect(texts()).toEqual([['a'], ['b'], ['turn.completed']]);
  });
});
