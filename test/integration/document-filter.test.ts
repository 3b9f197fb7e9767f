/** What filters of metadata find: by type, with fields that are missing, arrays, and names that look like something else. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { MetadataFilter } from '../../src/contracts/index.ts';
import { done } from '../../src/kernel/outcome.ts';
import { createRig, type Rig } from '../support/rig.ts';

const METADATA: Record<string, Record<string, unknown>> = {
  number: { year: 5 },
  text: { year: '5' },
  truth: { year: true },
  null: { year: null },
  missing: {},
  array: { year: [5, 'x'] },
  late: { date: '2025-01-01' },
  early: { date: '2024-01-01' },
  odd: { and: 3, "a'; drop table documents; --": 1, 'x"y': 2, $ne: 4 },
};

let rig: Rig;
let who: Awaited<ReturnType<Rig['newTenant']>>;
const names = new Map<string, string>();
beforeAll(async () => {
  rig = await createRig();
  who = await rig.newTenant();
  for (const [name, metadata] of Object.entries(METADATA)) {
    const { receipt } = await rig.upload(who, `A penguin of the kind ${name}`, { metadata: JSON.stringify(metadata) });
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual(done);
    names.set(receipt.document_id, name);
  }
});
afterAll(() => rig.close());

const others = (...but: string[]) => Object.keys(METADATA).filter((name) => !but.includes(name));

test.each<[MetadataFilter, string[]]>([
  [{ year: 5 }, ['number', 'array']],
  [{ year: '5' }, ['text']],
  [{ year: true }, ['truth']],
  // A missing field is null.
  [{ year: null }, others('number', 'text', 'truth', 'array')],
  [{ year: { ne: 5 } }, others('number', 'array')],
  [{ year: { ne: null } }, ['number', 'text', 'truth', 'array']],
  [{ year: { nin: [5, '5'] } }, others('number', 'array', 'text')],
  [{ year: { nin: [] } }, others()],
  [{ year: { in: [] } }, []],
  [{ year: { in: ['5', null] } }, others('number', 'truth', 'array')],
  // Types are never compared with each other.
  [{ year: { gt: 4 } }, ['number']],
  [{ year: { lt: '9' } }, ['text']],
  [{ year: { gte: 5, lt: 6 } }, ['number']],
  [{ date: { gte: '2024-06-01' } }, ['late']],
  [
    { or: [{ year: 5 }, { and: [{ date: { gt: '2000' } }, { date: { lt: '2024-06' } }] }] },
    ['number', 'array', 'early'],
  ],
  [{ and: [] }, others()],
  [{ or: [] }, []],
  [{}, others()],
  // Names are data.
  [{ and: 3 }, ['odd']],
  [{ "a'; drop table documents; --": 1 }, ['odd']],
  [{ 'x"y': { in: [2] } }, ['odd']],
  [{ $ne: 4 }, ['odd']],
] as [MetadataFilter, string[]][])('%j', async (metadata, expected) => {
  const request = { query: 'penguin', top_k: 50, mode: 'text' as const, filter: { metadata } };
  const { results } = await rig.as(who, () => rig.search.search(request));
  expect(results.map(({ document_id: id }) => names.get(id) ?? '').toSorted()).toEqual(expected.toSorted());
});
