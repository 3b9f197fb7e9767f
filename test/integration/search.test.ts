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

/** How often a cache was asked and had what was wanted. */
async function hitsOf(cache: string): Promise<number> {
  const text = await rig.metrics.registry.metrics();
  const found = new RegExp(`^dreamhub_cache_requests_total\\{cache="${cache}",result="hit",[^}]*\\} (\\d+)`, 'm').exec(
    text,
  );
  return Number(found?.[1] ?? 0);
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

  test('for nothing finds nothing, in every mode', async () => {
    const who = await rig.newTenant();
    await add(who, 'The harbour tariff is two coins.\n🚢 sails.');
    for (const mode of ['text', 'vector', 'hybrid'] as const) {
      for (const query of [' ', '\t\n', '???', '…。！', '\u200b\u200b', '\u{e0041}\u{e0042}', '()*&%#@']) {
        expect((await search(who, { query, mode })).results).toEqual([]);
      }
      expect((await search(who, { query: '🚢', mode })).results).not.toEqual([]);
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
    const without = await search(who, { query, rerank: true, top_k: 9 });
    fails = false;
    expect(without.degraded).toEqual(['rerank']);
    expect(without.results).toEqual(plain.results);
    // It is not remembered either.
    expect(await search(who, { query, rerank: true, top_k: 9 })).not.toHaveProperty('degraded');
    expect(await rig.metrics.registry.metrics()).toContain('dreamhub_rerank_failures_total{service="dreamhub"} 1');
  });
});

describe('a search that was answered before', () => {
  const ids = async (who: Who, query = 'harbour tariff') =>
    (await search(who, { query })).results.map(({ document_id }) => document_id);

  test('is answered from memory, its question’s vector too, until a document comes, changes or goes', async () => {
    const who = await rig.newTenant();
    const first = await add(who, 'The harbour tariff is two coins.');
    expect(await ids(who)).toEqual([first]);
    let before = await hitsOf('results');
    expect(await ids(who)).toEqual([first]);
    expect(await hitsOf('results')).toBe(before + 1);

    before = await hitsOf('results');
    const vectors = await hitsOf('embeddings');
    const second = await add(who, 'Another harbour tariff is nine coins.');
    expect((await ids(who)).toSorted()).toEqual([first, second].toSorted());
    expect(await hitsOf('embeddings')).toBe(vectors + 1);

    await rig.as(who, () => rig.database.tenant((sql) => sql`update documents set title = 'New' where id = ${first}`));
    const titles = (await search(who, { query: 'harbour tariff' })).results.map(({ title }) => title);
    expect(titles).toContain('New');

    await rig.as(who, () => rig.documents.remove(first));
    expect(await ids(who)).toEqual([second]);
    // None of the changed answers came from memory.
    expect(await hitsOf('results')).toBe(before);
  });

  test('is another one for another user, tenant or request', async () => {
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, 'The harbour tariff is a secret.', { visibility: 'private' });
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual(done);
    expect(await ids(who)).toEqual([receipt.document_id]);
    const before = await hitsOf('results');
    expect(await ids(await rig.addUser(who.tenantId))).toEqual([]);
    expect(await ids(await rig.newTenant())).toEqual([]);
    expect((await search(who, { query: 'harbour tariff', filter: { source_type: 'other' } })).results).toEqual([]);
    expect(await hitsOf('results')).toBe(before);
  });
});
