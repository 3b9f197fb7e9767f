import { expect, test } from 'bun:test';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { createHintWriter } from '../../../src/realtime/hint-writer.ts';

function recorded() {
  const messages: { partition: number; message: string; answer(error?: Error): void }[] = [];
  const writer = createHintWriter({
    logger: silentLogger,
    publish(partition, message) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      messages.push({ partition, message, answer: (error) => (error ? reject(error) : resolve()) });
      return promise;
    },
  });
  return { messages, writer, texts: () => messages.map(({ partition, message }) => `${partition}: ${message}`) };
}

test('what is told in one moment goes as one message, what comes meanwhile as the next, partitions apart', async () => {
  const { messages, writer, texts } = recorded();
  const first = Promise.all([writer.send(0, 'a'), writer.send(1, 'b'), writer.send(0, 'c')]);
  await null;
  expect(texts()).toEqual(['0: a\nc', '1: b']);
  const second = Promise.all([writer.send(0, 'd'), writer.send(0, 'e')]);
  await null;
  expect(messages).toHaveLength(2);
  for (const { answer } of messages) answer();
  await first;
  expect(texts().slice(2)).toEqual(['0: d\ne']);
  messages[2]?.answer();
  await second;
});

test('a message that could not be published keeps nobody waiting', async () => {
  const { messages, writer, texts } = recorded();
  const lost = writer.send(0, 'a');
  await null;
  const next = writer.send(0, 'b');
  messages[0]?.answer(new Error('Redis is away'));
  await lost;
  messages[1]?.answer();
  await next;
  expect(texts()).toEqual(['0: a', '0: b']);
});

test('many at once are several messages', async () => {
  const { messages, writer } = recorded();
  const sends = Array.from({ length: 300 }, (_, i) => writer.send(0, String(i)));
  await null;
  messages[0]?.answer();
  await Promise.all(sends.slice(0, 256));
  messages[1]?.answer();
  await Promise.all(sends);
  expect(messages.map(({ message }) => message.split('\n').length)).toEqual([256, 44]);
});
