/** What every chat provider keeps, whoever writes the answer. */
import { describe, expect, test } from 'bun:test';
import type { AnswerPart, AnswerRequest, ChatProvider } from '../../src/contracts/index.ts';
import { citedNumbers } from '../../src/retrieval/quotes.ts';

export const harbourRequest: AnswerRequest = {
  question: 'When did the harbour of Aldmoor open?',
  history: [],
  passages: [
    {
      n: 1,
      title: 'Harbour',
      page: 3,
      headings: ['History'],
      text: 'The harbour of Aldmoor opened in 1921. It was enlarged twice.',
      score: 1,
    },
    { n: 2, title: 'Mills', page: null, headings: [], text: 'The mills grind wheat and rye.', score: 0.2 },
  ],
};

export async function collect(
  parts: AsyncIterable<AnswerPart>,
): Promise<{ text: string; deltas: number; usage: AnswerPart[] }> {
  let text = '';
  let deltas = 0;
  const usage: AnswerPart[] = [];
  for await (const part of parts) {
    if (part.type === 'delta') {
      text += part.text;
      deltas += 1;
    } else if (part.type === 'usage') usage.push(part);
  }
  return { text, deltas, usage };
}

const never = new AbortController().signal;

export function describeChatProvider(name: string, create: () => Promise<ChatProvider>): void {
  describe(`chat provider: ${name}`, () => {
    test('streams an answer in several deltas that cites the passage it rests on', async () => {
      const provider = await create();
      const { text, deltas } = await collect(provider.answer(harbourRequest, never));
      expect(deltas).toBeGreaterThan(3);
      expect(text).toContain('1921');
      expect(citedNumbers(text)).toContain(1);
      expect(citedNumbers(text).every((n) => n === 1 || n === 2)).toBe(true);
    });

    test('ends with its usage, once', async () => {
      const provider = await create();
      const { usage } = await collect(provider.answer(harbourRequest, never));
      expect(usage).toHaveLength(1);
      expect(usage[0]).toMatchObject({
        type: 'usage',
        promptTokens: expect.any(Number),
        completionTokens: expect.any(Number),
        cost: expect.any(Number),
      });
    });

    test('answers alike when asked again', async () => {
      const provider = await create();
      const first = await collect(provider.answer(harbourRequest, never));
      expect((await collect(provider.answer(harbourRequest, never))).text).toBe(first.text);
    });

    test('says something, and cites nothing, where there is no passage', async () => {
      const provider = await create();
      const { text } = await collect(provider.answer({ ...harbourRequest, passages: [] }, never));
      expect(text.length).toBeGreaterThan(10);
      expect(citedNumbers(text)).toEqual([]);
    });

    test('stops with the reason of the signal when it is aborted between two deltas', async () => {
      const provider = await create();
      const controller = new AbortController();
      const reason = new Error('stopped by the user');
      let seen = 0;
      const read = async (): Promise<void> => {
        for await (const part of provider.answer(harbourRequest, controller.signal)) {
          if (part.type !== 'delta') continue;
          seen += 1;
          if (seen === 2) controller.abort(reason);
        }
      };
      expect(await read().catch((error: unknown) => error)).toBe(reason);
      expect(seen).toBe(2);
    });

    test('summarises what was said, and says what that took', async () => {
      const provider = await create();
      const messages = [
        { role: 'user' as const, content: 'When did the harbour of Aldmoor open?' },
        { role: 'assistant' as const, content: 'It opened in 1921 [1].' },
      ];
      for (const earlier of [null, '- Q: Who built the mills?']) {
        const summary = await provider.summarise({ earlier, messages }, never);
        expect(summary.text.trim()).toBe(summary.text);
        expect(summary.text.length).toBeGreaterThan(10);
        expect(summary).toMatchObject({ promptTokens: expect.any(Number), completionTokens: expect.any(Number) });
        expect(citedNumbers(summary.text)).toEqual([]);
      }
      const blank = await provider.summarise({ earlier: null, messages: [{ role: 'user', content: '?!' }] }, never);
      expect(blank.text).not.toBe('');
      const reason = new Error('stopped');
      const stopped = provider.summarise({ earlier: null, messages }, AbortSignal.abort(reason));
      expect(await stopped.catch((error: unknown) => error)).toBe(reason);
    });

    test('counts tokens in proportion to the text', async () => {
      const provider = await create();
      expect(provider.countTokens('')).toBe(0);
      expect(provider.countTokens('word '.repeat(400))).toBeGreaterThan(200);
      expect(provider.contextTokens).toBeGreaterThanOrEqual(4_096);
    });
  });
}
