/** What a search request can ask for, on a real database. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { SearchRequest } from '../../src/contracts/index.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { done } from '../../src/kernel/outcome.ts';
import { createRig, type Rig } from '../support/rig.ts';

let rig: Rig;
let fails = false;
beforeAll(async () => {
  rig = await createRig({
    reranker: {
      model: 'by length',
      weight: 1,
      async rerank(_, texts) {
        if (fails) throw new AppError('provider_unavailable', 'The reranker is away.');
        const longest = Math.max(...texts.map((text) => text.length));
        return texts.map((text) => text.length / longest);
      },
    },
  });
});
afterAll(() => rig.close());

type Who = Awaited<ReturnType<Rig['newTenant']>>;

async function add(who: Who, text: string): Promise<string> {
  const { receipt } = await rig.upload(who, text);
  expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual(done);
  return receipt.document_id;
}

const search = (who: Who, request: Partial<SearchRequest> & { query: string }) =>
  rig.as(who, () => rig.search.search({ top_k: 10, mode: 'hybrid', filter: {}, ...request }));

describe('a search', () => {
  test('returns at most so many of one document, and still as many as asked for', async () => {
    const who = await rig.newTenant();
    await add(who, Array.from({ length: 400 }, (_, n) => `harbour harbour tariff ${n}`).join('\n'));
    const others = await Promise.all(
      [1, 2, 3].map((n) => add(who, `The calm sea of ${n} has a harbour too, they say.`)),
    );
    for (const mode of ['text', 'vector', 'hybrid'] as const) {
      const free = await search(who, { query: 'harbour tariff', mode });
      expect(new Set(free.results.map(({ document_id }) => document_id)).size).toBe(1);
      const capped = await search(who, { query: 'harbour tariff', mode, max_per_document: 1, top_k: 4 });
      const documents = capped.results.map(({ document_id }) => document_id);
      expect(documents).toHaveLength(4);
      expect(documents.slice(1).toSorted()).toEqual(others.toSorted());
    }
  });

  test('leaves out what scores too little, and joins lists as told', async () => {
    const who = await rig.newTenant();
    await add(who, 'The harbour tariff is two coins.\nThe harbour is old.\nLanterns light the pier.');
    const all = await search(who, { query: 'harbour tariff', mode: 'text' });
    expect(all.results).toHaveLength(2);
    expect(all.results.map(({ score }) => score)).toEqual(
      all.results.map(({ score }) => score).toSorted((a, b) => b - a),
    );
    const good = await search(who, { query: 'harbour tariff', mode: 'text', min_score: 0.9 });
    expect(good.results.map(({ text }) => text)).toEqual(['The harbour tariff is two coins.']);
    const vectors = await search(who, { query: 'harbour tariff', vector_weight: 1 });
    const alone = await search(who, { query: 'harbour tariff', mode: 'vector' });
    expect(vectors.results[0]?.score).toBeCloseTo(alone.results[0]?.score ?? 0, 5);
    const ranks = await search(who, { query: 'harbour tariff', fusion: 'rrf', vector_weight: 0.5 });
    expect(ranks.results[0]).toMatchObject({ text: 'The harbour tariff is two coins.', score: 1 });
    expect(ranks.results[1]?.score).toBeGreaterThan(0.9);
  });

  test('shows different things first where diversity is asked for', async () => {
    const who = await rig.newTenant();
    await add(
      who,
      'The harbour tariff is two coins.\nThe harbour tariff is two coins too.\nOld harbour lanterns burn.',
    );
    const order = async (diversity: number) =>
      (await search(who, { query: 'harbour tariff', mode: 'text', diversity })).results.map(({ text }) =>
        text.slice(0, 11),
      );
    expect(await order(0)).toEqual(['The harbour', 'The harbour', 'Old harbour']);
    expect(await order(0.6)).toEqual(['The harbour', 'Old harbour', 'The harbour']);
  });

  test('is reranked on demand, and answered without where the reranker fails, which is told', async () => {
    const who = await rig.newTenant();
    await add(
      who,
      'The harbour tariff.\nA harbour of which a very long line speaks at some length, and then some more.',
    );
    const query = 'harbour tariff';
    const plain = await search(who, { query });
    expect(plain.results[0]).toMatchObject({ text: 'The harbour tariff.', scores: { rerank: null } });
    const reranked = await search(who, { query, rerank: true });
    expect(reranked.results[0]?.text).toStartWith('A harbour of which');
    expect(reranked.results[0]?.scores.rerank).toBe(1);
    expect(reranked).not.toHaveProperty('degraded');
    fails = true;
    const without = await search(who, { query, rerank: true });
    fails = false;
    expect(without.degraded).toEqual(['rerank']);
    expect(without.results).toEqual(plain.results);
    expect(await rig.metrics.registry.metrics()).toContain('dreamhub_rerank_failures_total{service="dreamhub"} 1');
  });
});
