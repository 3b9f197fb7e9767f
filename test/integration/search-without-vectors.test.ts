/** A hybrid search finds by words where the question's vector cannot be had, and says so. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { EmbeddingProvider, SearchMode } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { done } from '../../src/kernel/outcome.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createBuiltinRerank } from '../../src/llm/builtin-rerank.ts';
import { createSearch, type Search } from '../../src/services/search.ts';
import { createVectorSearch } from '../../src/services/vector-search.ts';
import { createRig, type Rig } from '../support/rig.ts';

let rig: Rig;
let who: Awaited<ReturnType<Rig['newTenant']>>;
let asks = 0;
let query: (signal: AbortSignal | undefined) => Promise<void> = async () => {};
beforeAll(async () => {
  const builtin = createBuiltinEmbeddings({ dimensions: 64 });
  const embeddings: EmbeddingProvider = {
    ...builtin,
    async embed(texts, options) {
      if (options.purpose === 'query') {
        asks += 1;
        await query(options.signal);
      }
      return builtin.embed(texts, options);
    },
  };
  rig = await createRig({ embeddings });
  who = await rig.newTenant();
  const { receipt } = await rig.upload(who, 'The harbour tariff is two coins.\nLanterns burn at night.');
  expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual(done);
});
afterAll(() => rig.close());

/** A process of its own: what one has learnt of its provider is not another's. */
function newSearch(now = () => Date.now()): Search {
  const { database, spaces, metrics } = rig;
  return createSearch({
    database,
    spaces,
    metrics,
    clock: { ...systemClock, now },
    logger: silentLogger,
    vectors: createVectorSearch({ database, spaces }),
    reranking: { reranker: createBuiltinRerank(), byDefault: false },
    vectorPatienceMs: 100,
  });
}

let asked = 0;
const ask = (search: Search, mode: SearchMode, signal?: AbortSignal) =>
  rig.as(who, () => {
    asked += 1;
    // Another question each time: none is answered from memory.
    return search.search({ query: `harbour tariff ${asked}`, top_k: 5, mode, filter: {} }, signal);
  });
const texts = (answer: Awaited<ReturnType<Search['search']>>) => answer.results.map(({ text }) => text);

test('a provider that is away takes no words away, and comes back', async () => {
  const search = newSearch();
  query = () => Promise.reject(new AppError('provider_unavailable', 'away', { retryAfterMs: 5_000 }));
  const answer = await ask(search, 'hybrid');
  expect(answer.degraded).toEqual(['vector']);
  expect(texts(answer)[0]).toBe('The harbour tariff is two coins.');
  expect(answer.results[0]).toMatchObject({ scores: { vector: null } });
  // As good as by words alone.
  expect(answer.results[0]?.score).toBeCloseTo((await ask(search, 'text')).results[0]?.score ?? 0, 5);
  // Who asks for vectors alone is told.
  expect(await ask(search, 'vector').catch((error: unknown) => error)).toMatchObject({ kind: 'provider_unavailable' });
  query = async () => {};
  const again = await ask(search, 'hybrid');
  expect(again.degraded).toBeUndefined();
  expect(again.results[0]?.scores.vector).not.toBeNull();
});

test('one that is silent is waited for once, then not for a while', async () => {
  let now = 1_000;
  const search = newSearch(() => now);
  query = (signal) =>
    new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason as Error)));
  const before = asks;
  for (let time = 0; time < 3; time += 1) expect((await ask(search, 'hybrid')).degraded).toEqual(['vector']);
  expect(asks).toBe(before + 1);
  query = async () => {};
  now += 10_001;
  expect((await ask(search, 'hybrid')).degraded).toBeUndefined();
});

test('what is no fault of the provider is no answer by words', async () => {
  const search = newSearch();
  query = () => Promise.reject(new Error('a bug'));
  expect(await ask(search, 'hybrid').catch((error: unknown) => String(error))).toBe('Error: a bug');
  // Nor is a reader who has gone.
  const controller = new AbortController();
  query = (signal) =>
    new Promise((_, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error));
      controller.abort(new Error('gone'));
    });
  expect(await ask(search, 'hybrid', controller.signal).catch((error: unknown) => String(error))).toBe('Error: gone');
});
