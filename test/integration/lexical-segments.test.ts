/** Text search on a real database: over loose chunks, over segments, and while one becomes the other. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { done } from '../../src/kernel/outcome.ts';
import { createLexicalCompactor, segmentsToMerge } from '../../src/services/lexical-compactor.ts';
import { createRig, type Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await createRig();
});
afterAll(() => rig.close());

type Who = Awaited<ReturnType<Rig['newTenant']>>;

const compactor = (options: { loose?: number; most?: number } = {}) =>
  createLexicalCompactor({
    database: rig.database,
    clock: systemClock,
    ids: systemIds,
    logger: silentLogger,
    loose: 1,
    ...options,
  });

async function add(who: Who, text: string, fields: Record<string, string> = {}): Promise<string> {
  const { receipt } = await rig.upload(who, text, fields);
  expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual(done);
  return receipt.document_id;
}

const found = (who: Who, query: string, filter = {}, topK = 100) =>
  rig.as(who, () => rig.search.search({ query, top_k: topK, mode: 'text', filter })).then(({ results }) => results);
const segmentsOf = ({ tenantId }: Who) =>
  rig.database.system(
    (sql) => sql<{ id: string; chunks: number }[]>`
    select id, chunks from lexical_segments where tenant_id = ${tenantId} order by chunks`,
  );
const looseOf = async ({ tenantId }: Who) =>
  (
    await rig.database.system(
      (sql) => sql<{ n: number }[]>`
      select coalesce(sum(chunks), 0)::int as n from lexical_documents
      where tenant_id = ${tenantId} and segment_id is null`,
    )
  )[0]?.n;

const WORDS = ['harbour', 'tariff', 'ferry', 'tide', 'captain', 'lantern'];
const lineOf = (n: number) =>
  `${WORDS[n % 6]} ${WORDS[(n * n + 1) % 6]} ${WORDS[(n >> 2) % 6]} number ${n} ${'calm sea '.repeat(n % 4)}`;

describe('text search over segments', () => {
  test('answers as over loose chunks, with the same scores', async () => {
    const who = await rig.newTenant();
    for (let document = 0; document < 12; document += 1) {
      await add(who, Array.from({ length: 1 + (document % 4) }, (_, line) => lineOf(document * 7 + line)).join('\n'));
    }
    const queries = ['harbour tariff', 'the calm ferry', 'captain lantern 35', 'nothing of this kind', 'tide'];
    const ask = async () => {
      const answers = await Promise.all(queries.map((query) => found(who, query)));
      return answers.map((hits) => hits.map(({ chunk_id, score }) => [chunk_id, score.toFixed(5)]));
    };
    const before = await ask();
    expect(before.map((hits) => hits.length > 0)).toEqual([true, true, true, false, true]);
    expect(await segmentsOf(who)).toHaveLength(0);
    await compactor({ most: 8 }).settle();
    expect((await segmentsOf(who)).length).toBeGreaterThan(1);
    expect(await looseOf(who)).toBe(0);
    expect(await ask()).toEqual(before);
    // Merged into one, and with some loose beside it.
    await add(who, Array.from({ length: 40 }, (_, line) => lineOf(line)).join('\n'));
    await compactor().settle();
    expect(await segmentsOf(who)).toHaveLength(1);
    await add(who, lineOf(4));
    expect(await looseOf(who)).toBe(1);
    expect((await found(who, 'harbour tariff')).length).toBeGreaterThanOrEqual(before[0]?.length ?? 0);
  });

  test('finds nothing of a document from the moment it is deleted, and writes a segment anew once half is gone', async () => {
    const who = await rig.newTenant();
    const ids: string[] = [];
    for (let n = 0; n < 6; n += 1) ids.push(await add(who, `harbour ${lineOf(n)}`));
    await compactor().settle();
    for (const [index, id] of ids.slice(0, 4).entries()) {
      await rig.as(who, () => rig.documents.remove(id));
      const left = (await found(who, 'harbour')).map(({ document_id }) => document_id);
      expect(left.toSorted()).toEqual(ids.slice(index + 1).toSorted());
    }
    await compactor({ loose: 1_000 }).settle();
    expect((await segmentsOf(who)).map(({ chunks }) => chunks)).toEqual([2]);
    expect(await found(who, 'harbour')).toHaveLength(2);
  });

  test('shows private documents to their owner alone, in a segment of their own', async () => {
    const owner = await rig.newTenant();
    const other = await rig.addUser(owner.tenantId);
    const open = await add(owner, 'The harbour is open.');
    const secret = await add(owner, 'The harbour secret is kept.', { visibility: 'private' });
    for (const written of [false, true]) {
      if (written) await compactor().settle();
      expect((await found(owner, 'harbour')).map(({ document_id }) => document_id).toSorted()).toEqual(
        [open, secret].toSorted(),
      );
      expect((await found(other, 'harbour secret')).map(({ document_id }) => document_id)).toEqual([open]);
    }
    expect(await segmentsOf(owner)).toHaveLength(2);
    const seen = await rig.as(other, () => rig.database.tenant((sql) => sql`select 1 from lexical_segments`));
    const terms = await rig.as(other, () =>
      rig.database.tenant((sql) => sql`select 1 from lexical_postings where term = 'secret'`),
    );
    expect([seen.length, terms.length]).toEqual([1, 0]);
  });

  test('returns every row that a filter leaves, however many others rank above them', async () => {
    const who = await rig.newTenant();
    const loud = Array.from({ length: 700 }, (_, n) => `harbour harbour ${n}`).join('\n');
    await add(who, loud, { source_type: 'loud' });
    const quiet = `${'The sea is calm and wide. '.repeat(20)} harbour`;
    const ids = [
      await add(who, quiet, { metadata: '{"year": 2025}' }),
      await add(who, `${quiet} again`, { metadata: '{"year": 2026}' }),
    ];
    for (const written of [false, true]) {
      if (written) await compactor({ most: 256 }).settle();
      const filtered = await found(who, 'harbour', { metadata: { year: { gte: 2025 } } }, 10);
      expect(filtered.map(({ document_id }) => document_id).toSorted()).toEqual(ids.toSorted());
      expect(await found(who, 'harbour', { document_ids: [ids[1] ?? ''] }, 10)).toHaveLength(1);
      expect(await found(who, 'harbour', { source_type: 'nothing' }, 10)).toEqual([]);
    }
  });

  test('finds everything at every moment while segments are written and merged', async () => {
    const who = await rig.newTenant();
    for (let n = 0; n < 24; n += 1) await add(who, `harbour ${n}\nharbour again ${n}`);
    let isCompacting = true;
    const compacting = (async () => {
      // Ever larger segments: each document that comes takes smaller ones along.
      for (const most of [4, 8, 16, 32, 64]) {
        await add(who, `harbour with ${most}`);
        await compactor({ most }).settle();
      }
    })().finally(() => {
      isCompacting = false;
    });
    let searches = 0;
    for (; isCompacting || searches < 5; searches += 1) {
      expect((await found(who, 'harbour')).length).toBeGreaterThanOrEqual(48);
    }
    await compacting;
    expect(await found(who, 'harbour')).toHaveLength(53);
    expect(searches).toBeGreaterThanOrEqual(5);
    expect(await looseOf(who)).toBe(0);
  });

  test('counts a generation for each change of what could be found, and for nothing else', async () => {
    const who = await rig.newTenant();
    const generation = () =>
      rig.as(who, async () => (await rig.database.call<number | null>('corpus_generation', [])) ?? 0);
    const numbers = [await generation()];
    const id = await add(who, 'harbour');
    numbers.push(await generation());
    await rig.as(who, () => rig.database.tenant((sql) => sql`update documents set title = 'Port' where id = ${id}`));
    numbers.push(await generation());
    await compactor().settle();
    await rig.as(who, () => rig.documents.get(id));
    expect(await generation()).toBe(numbers[2] ?? -1);
    await rig.as(who, () => rig.documents.remove(id));
    numbers.push(await generation());
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    expect(new Set(numbers).size).toBe(4);
  });
});

describe('the choice of segments to merge', () => {
  const sizes = (...live: number[]) => live.map((count) => ({ id: String(count), live: count, written: count }));

  test('takes those no larger than what is put together, up to the limit', () => {
    expect(segmentsToMerge(sizes(100, 200, 1_000), 150, 5_000)).toEqual(['100', '200']);
    expect(segmentsToMerge(sizes(100, 200, 400), 150, 400)).toEqual(['100']);
    expect(segmentsToMerge(sizes(1_000), 150, 5_000)).toEqual([]);
  });

  test('writes anew what is half gone, whatever its size', () => {
    expect(segmentsToMerge([{ id: 'sparse', live: 400, written: 1_000 }], 0, 5_000)).toEqual(['sparse']);
  });
});
