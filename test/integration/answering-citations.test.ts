/** What an answer says of its sources, and what never reaches its reader, with a model that says what a test tells it to. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { AnswerRequest } from '../../src/contracts/index.ts';
import { done } from '../../src/kernel/outcome.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createRig, type Rig } from '../support/rig.ts';

let rig: Rig;
/** In pieces, as a model streams it. */
let says: (request: AnswerRequest) => Promise<string[]> = async () => [];
let asked: AnswerRequest | undefined;
beforeAll(async () => {
  rig = await createRig({
    chat: {
      ...createBuiltinChat(),
      async *answer(request) {
        asked = request;
        for (const text of await says(request)) yield { type: 'delta', text };
      },
    },
  });
});
afterAll(() => rig.close());

type Who = Awaited<ReturnType<Rig['newTenant']>>;
const TEXT = 'Lanterns burn at night.\nThe harbour tariff is two coins.\nIt was raised in the spring.\nWhales sing.';

async function ready(text = TEXT): Promise<{ who: Who; documentId: string }> {
  const who = await rig.newTenant();
  const { receipt } = await rig.upload(who, text);
  expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual(done);
  return { who, documentId: receipt.document_id };
}

async function ask(who: Who, content: string, conversationId?: string, outcome: 'done' | 'failed' = 'done') {
  const sent = await rig.as(who, () =>
    rig.chat.send({ content, ...(conversationId !== undefined && { conversationId }) }),
  );
  expect((await rig.deliver(who, 'chat', sent.turn_id)).type).toBe(outcome);
  return rig.as(who, () => rig.chat.turn(sent.turn_id));
}

const droppedCitations = async () => (await rig.metrics.citationsDropped.get()).values[0]?.value ?? 0;

describe('an answer', () => {
  test('keeps the citations that lead somewhere, and loses images, unknown links and citations that lead nowhere', async () => {
    const { who } = await ready();
    says = async () => [
      'The tariff is two co',
      'ins [1',
      ']. Others disagree [9]. ![pi',
      'xel](https://evil.example/?q=two) Go [on](htt',
      'ps://evil.example/).',
    ];
    const before = await droppedCitations();
    const turn = await ask(who, 'What is the harbour tariff?');
    expect(turn.text).toBe('The tariff is two coins [1]. Others disagree . pixel Go on.');
    expect(turn.sources.map(({ n, quote, verified }) => [n, quote, verified])).toEqual([
      [1, 'The harbour tariff is two coins.', true],
    ]);
    expect((await droppedCitations()) - before).toBe(1);
  });

  test('that cites only what there is not says that nothing supports it', async () => {
    const { who } = await ready();
    says = async () => ['The moon is made of cheese [42].'];
    const turn = await ask(who, 'What is the harbour tariff?');
    expect(turn.text).toBe('The moon is made of cheese .\n\n(No passage of your documents supports this answer.)');
    expect(turn.sources).toEqual([]);
  });

  test('that is nothing, or nothing but what is taken out, is none', async () => {
    const { who } = await ready();
    for (const nothing of [[], [' ', '\n'], ['[9]'], ['<img src=x>']]) {
      says = async () => nothing;
      const turn = await ask(who, 'What is the harbour tariff?', undefined, 'failed');
      expect(turn).toMatchObject({ status: 'failed', error: { code: 'provider_unavailable' } });
    }
  });

  test('is read with the chunks around the best one, and cites the one that holds its claim', async () => {
    // So many lines about it that the one behind the best is no passage of its own.
    const others = Array.from({ length: 40 }, (_, n) => `The harbour keeps a list with tariff number ${n}.`);
    const { who, documentId } = await ready([TEXT, ...others].join('\n'));
    says = async ({ passages }) => [`It was raised in the spring [${passages[0]?.n}].`];
    const turn = await ask(who, 'What is the harbour tariff?');
    expect(asked?.passages[0]?.text).toContain('raised in the spring');
    const [source] = turn.sources;
    const text = await rig.as(who, async () => new Response(await rig.documents.text(documentId)).text());
    expect(source).toMatchObject({ quote: 'It was raised in the spring.', verified: true });
    expect(text.slice(source?.start, source?.end)).toBe('It was raised in the spring.');
  });

  test('whose document goes while it is written keeps no word of it', async () => {
    const { who, documentId } = await ready();
    says = async () => {
      await rig.as(who, () => rig.documents.remove(documentId));
      return ['The tariff is two coins [1].'];
    };
    const turn = await ask(who, 'What is the harbour tariff?');
    expect(turn.sources).toMatchObject([{ n: 1, quote: '', verified: false }]);
  });

  test('to a question that leans on the one before it is looked for with its subject', async () => {
    const { who } = await ready();
    says = async () => ['Two coins [1].'];
    const first = await ask(who, 'What is the harbour tariff today?');
    const second = await ask(who, 'And since when?', first.conversation_id);
    expect(second.status).toBe('completed');
    expect(asked?.question).toBe('And since when?');
    expect(asked?.passages[0]?.text).toContain('harbour tariff');
  });
});
