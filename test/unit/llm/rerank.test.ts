import { afterEach, describe, expect, test } from 'bun:test';
import { AppError } from '../../../src/kernel/errors.ts';
import { createBuiltinRerank } from '../../../src/llm/builtin-rerank.ts';
import { createHttpRerank } from '../../../src/llm/http-rerank.ts';
import { eventually } from '../../support/eventually.ts';

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

interface Asked {
  path: string;
  key: string | null;
  body: { model: string; query: string; documents: string[]; top_n: number };
}

/** A server that answers as told and remembers what it was asked. */
function serve(answer: (asked: Asked) => Response | Promise<Response>) {
  const asked: Asked[] = [];
  const server = Bun.serve({
    port: 0,
    async fetch(request) {
      const one = {
        path: new URL(request.url).pathname,
        key: request.headers.get('authorization'),
        body: (await request.json()) as Asked['body'],
      };
      asked.push(one);
      return answer(one);
    },
  });
  stops.push(() => server.stop(true));
  return { url: `http://127.0.0.1:${server.port}/v1`, asked };
}

const results = (scores: number[]) => ({
  results: scores.map((relevance_score, index) => ({ index, relevance_score })).toReversed(),
});

describe('a rerank server', () => {
  test('is asked once, and its scores come back in the order of the texts', async () => {
    const { url, asked } = serve(() => Response.json(results([0.2, 0.9])));
    const reranker = createHttpRerank({ url, apiKeys: ['k1'], model: 'm' });
    expect(await reranker.rerank('q', ['a', 'b'])).toEqual([0.2, 0.9]);
    expect(asked).toEqual([
      {
        path: '/v1/rerank',
        key: 'Bearer k1',
        body: { model: 'm', query: 'q', documents: ['a', 'b'], top_n: 2, return_documents: false } as Asked['body'],
      },
    ]);
    expect(await reranker.rerank('q', [])).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  test('may send logits, and its list under another name', async () => {
    const { url } = serve(() => Response.json({ data: results([-3, 4]).results }));
    const [low = 1, high = 0] = await createHttpRerank({ url, apiKeys: [], model: 'm' }).rerank('q', ['a', 'b']);
    expect(low).toBeLessThan(0.1);
    expect(high > 0.9 && high < 1).toBeTrue();
  });

  test('is asked with the next key where one is refused', async () => {
    const { url, asked } = serve(({ key }) =>
      key === 'Bearer good' ? Response.json(results([0.5])) : new Response('', { status: 429 }),
    );
    const reranker = createHttpRerank({ url: `${url}/rerank/`, apiKeys: ['bad', 'good'], model: 'm' });
    expect(await reranker.rerank('q', ['a'])).toEqual([0.5]);
    expect(asked.map(({ key, path }) => [key, path])).toEqual([
      ['Bearer bad', '/v1/rerank'],
      ['Bearer good', '/v1/rerank'],
    ]);
  });

  test('that is silent is silent to every key, and nobody waits for one that failed again and again', async () => {
    let isUp = false;
    const { url, asked } = serve(async () => {
      if (!isUp) await new Promise<void>(() => {});
      return Response.json(results([0.5]));
    });
    let now = 1_000;
    const clock = { now: () => now };
    const reranker = createHttpRerank({ url, apiKeys: ['a', 'b', 'c'], model: 'm', timeoutMs: 50, clock });
    const refused = () => expect(reranker.rerank('q', ['x'])).rejects.toMatchObject({ kind: 'provider_unavailable' });
    for (let time = 0; time < 5; time += 1) await refused();
    expect(asked).toHaveLength(3);
    // One tries it later, and the others do without meanwhile.
    now += 10_001;
    await Promise.all([refused(), refused(), refused()]);
    expect(asked).toHaveLength(4);
    isUp = true;
    now += 10_001;
    expect(await reranker.rerank('q', ['x'])).toEqual([0.5]);
    expect(await Promise.all([1, 2].map(() => reranker.rerank('q', ['x'])))).toEqual([[0.5], [0.5]]);
  });

  test('that nobody waits for any more is not held to have failed', async () => {
    const { url, asked } = serve(() => new Promise<Response>(() => {}));
    const reranker = createHttpRerank({ url, apiKeys: [], model: 'm' });
    for (let time = 1; time <= 5; time += 1) {
      const controller = new AbortController();
      const ended = reranker.rerank('q', ['x'], controller.signal).then(
        () => 'answered',
        () => 'gave up',
      );
      await eventually('it is asked', () => asked.length === time);
      controller.abort();
      expect(await ended).toBe('gave up');
    }
  });

  test.each([
    ['an error', () => new Response('', { status: 500 }), /answered 500/],
    ['no list', () => Response.json({ ok: true }), /no list of results/],
    ['a list with holes', () => Response.json(results([0.5])), /scored 1 of 2/],
    ['another index', () => Response.json({ results: [{ index: 7, relevance_score: 1 }] }), /no list of results/],
    ['no JSON', () => new Response('<html>'), /not available/],
  ])('that answers with %s is not available', async (_, answer, message) => {
    const { url } = serve(answer);
    const asking = createHttpRerank({ url, apiKeys: [], model: 'm' }).rerank('q', ['a', 'b']);
    await expect(asking).rejects.toThrow(message);
    await expect(asking).rejects.toBeInstanceOf(AppError);
  });

  test('that hangs is left at its time limit, and at once where the caller gives up', async () => {
    const { url } = serve(() => new Promise<Response>(() => {}));
    const quick = createHttpRerank({ url, apiKeys: [], model: 'm', timeoutMs: 50 });
    await expect(quick.rerank('q', ['a'])).rejects.toThrow('not available');
    const controller = new AbortController();
    const slow = createHttpRerank({ url, apiKeys: ['1', '2'], model: 'm', timeoutMs: 60_000 });
    const asking = slow.rerank('q', ['a'], controller.signal);
    controller.abort(new Error('gone'));
    await expect(asking).rejects.toThrow('gone');
  });
});

describe('the built-in reranker', () => {
  test('prefers a sentence that holds the question to a text that has its words all over', async () => {
    const spread = 'The harbour is old. It has seen much. A long tale follows here. Some say the tariff was low once.';
    const dense = 'Much was said about ships. The harbour tariff is two coins. Nobody minds.';
    const [a = 0, b = 0, c = 1] = await createBuiltinRerank().rerank('harbour tariff', [spread, dense, 'Nothing.']);
    expect(b).toBeGreaterThan(a);
    expect(c).toBe(0);
    expect(b).toBeLessThanOrEqual(1);
  });

  test('scores nothing where the question has no words', async () => {
    expect(await createBuiltinRerank().rerank('…', ['a', 'b'])).toEqual([0, 0]);
  });
});
