/** How an upload is cut: as its uploader asked for, at exact places, however long its text is. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import type { Chunk, EmbeddingProvider, ExtractedDocument, Principal } from '../../src/contracts/index.ts';
import { chunkDocument, createChunker } from '../../src/ingest/chunker.ts';
import { markdownHeadings } from '../../src/ingest/markdown-headings.ts';
import { createSandboxedExtractor } from '../../src/ingest/sandbox.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createRig, type Rig } from '../support/rig.ts';

/** Answers at once, counts what it sells, and refuses when told to. */
const shop = { sold: 0, refuseAfter: Number.POSITIVE_INFINITY };
const embeddings: EmbeddingProvider = {
  provider: 'test',
  model: 'instant',
  dimensions: 8,
  maxBatch: 64,
  vectorWeight: 0.5,
  async embed(texts) {
    if (shop.sold >= shop.refuseAfter) {
      throw new AppError('provider_unavailable', 'Too many requests.', { retryAfterMs: 1 });
    }
    shop.sold += texts.length;
    return { vectors: texts.map((text) => new Float32Array(8).fill(1 / Math.sqrt(8 + (text.length % 3)))), tokens: 0 };
  },
};

const chunker = createChunker();
const extractor = createSandboxedExtractor({ logger: silentLogger, maxChildren: 1 });
let rig: Rig;
let who: Principal;

beforeAll(async () => {
  await extractor.start();
  rig = await createRig({ embeddings, chunker, extractor });
  who = await rig.newTenant();
}, 60_000);
afterAll(async () => {
  await rig?.close();
  await extractor.stop();
});

const MARKDOWN = `# Handbook\n\n## Leave\n\n${'Leave is asked for in advance. '.repeat(30)}\n\n## 加班\n\n${'加班须经批准。'.repeat(60)}\n`;
const asDocument = (text: string): ExtractedDocument => ({
  text,
  title: null,
  pages: [],
  headings: markdownHeadings(text),
});

async function learn(text: string, fields: Record<string, string> = {}, filename = 'notes.md') {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append('file', new Blob([text]), filename);
  const response = new Response(form);
  const contentType = response.headers.get('content-type') ?? '';
  const { signal } = new AbortController();
  const { receipt } = await rig.as(who, () => rig.uploads.accept({ body: response.body, contentType, signal }));
  return receipt;
}

const storedText = (id: string) => rig.as(who, async () => new Response(await rig.documents.text(id)).text());

const storedChunks = (id: string) =>
  rig.as(who, () =>
    rig.database.tenant(
      (sql) => sql<Chunk[]>`
        select ordinal, start_offset as start, end_offset as "end", text, page, headings, tokens from chunks
        where tenant_id = current_setting('app.tenant_id')::uuid and document_id = ${id} order by ordinal`,
    ),
  );

const wrongFields = async (work: Promise<unknown>): Promise<string[]> => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof AppError)) throw error ?? new Error('nothing was wrong');
  return (error.errors ?? []).map(({ path }) => path);
};

describe('an upload', () => {
  test('is cut as it asks for, says so, and was shown so before', async () => {
    const fields = { chunking: 'sentence', chunk_tokens: '64', chunk_overlap: '16' };
    const chunking = { strategy: 'sentence', chunk_tokens: 64, chunk_overlap: 16 } as const;
    const { document_id: id, task_id } = await learn(MARKDOWN, fields);
    await expect(rig.as(who, () => rig.chunkPreviews.preview({ document_id: id }))).rejects.toMatchObject({
      kind: 'conflict',
    });
    expect(await rig.deliver(who, 'ingest', task_id)).toMatchObject({ type: 'done' });
    const wanted = await chunkDocument(chunker, asDocument(MARKDOWN), chunking);
    expect((await storedChunks(id)).map((chunk) => ({ ...chunk }))).toEqual(
      wanted.map((chunk) => ({ ...chunk, headings: [...chunk.headings] })),
    );
    expect(await rig.as(who, () => rig.documents.get(id))).toMatchObject({ chunking, chunks: wanted.length });

    const choice = { strategy: 'sentence', chunk_tokens: 64, chunk_overlap: 16, limit: 3 } as const;
    const asText = await rig.as(who, () => rig.chunkPreviews.preview({ text: MARKDOWN, ...choice }));
    expect(asText).toMatchObject({ chunking, total: wanted.length, complete: true });
    expect(asText.chunks).toEqual(wanted.slice(0, 3).map((chunk) => ({ ...chunk, headings: [...chunk.headings] })));
    const asStored = await rig.as(who, () => rig.chunkPreviews.preview({ document_id: id, ...choice }));
    expect(asStored).toEqual(asText);
  });

  test('that asks for nothing is cut as everybody’s', async () => {
    const { document_id: id, task_id } = await learn(`${MARKDOWN}More.`);
    await rig.deliver(who, 'ingest', task_id);
    expect(await rig.as(who, () => rig.documents.get(id))).toMatchObject({ chunking: chunker.defaults });
    expect(await storedChunks(id)).toHaveLength((await chunkDocument(chunker, asDocument(`${MARKDOWN}More.`))).length);
  });

  test('that asks for what cannot be is refused by the names of its fields', async () => {
    const fields = { chunking: 'magic', chunk_tokens: '1', chunk_overlap: 'x' };
    expect(await wrongFields(learn('text', fields))).toEqual(['chunking', 'chunk_tokens', 'chunk_overlap']);
  });
});

describe('a preview', () => {
  test('takes a text or a document, and sizes that can be', async () => {
    const preview = (request: Parameters<Rig['chunkPreviews']['preview']>[0]) =>
      wrongFields(rig.as(who, () => rig.chunkPreviews.preview(request)));
    expect(await preview({})).toEqual(['text']);
    expect(await preview({ text: 'x', document_id: who.userId })).toEqual(['text']);
    expect(await preview({ text: 'x', chunk_tokens: 100, chunk_overlap: 51 })).toEqual(['chunk_overlap']);
  });

  test('shows nobody what he may not see', async () => {
    const { document_id, task_id } = await learn(`${MARKDOWN}Secret.`, { visibility: 'private' });
    await rig.deliver(who, 'ingest', task_id);
    const [colleague, stranger] = [await rig.addUser(who.tenantId), await rig.newTenant()];
    for (const other of [colleague, stranger]) {
      await expect(rig.as(other, () => rig.chunkPreviews.preview({ document_id }))).rejects.toMatchObject({
        kind: 'not_found',
      });
    }
  });
});

test('a text too long to be kept is cut at exact places, and a second attempt goes on where the first one stopped', async () => {
  const paragraph = (i: number) =>
    `${i % 40 === 0 ? `## Section ${i}\n\n` : ''}Paragraph ${i} says “something” 👩‍👩‍👧‍👦 of its own. 第${i}条：员工应当遵守规定！ ${'And so on. '.repeat(i % 30)}\n\n`;
  let text = '';
  for (let i = 0; text.length < 1_300_000; i++) text += paragraph(i);
  const { document_id: id, task_id } = await learn(text);

  shop.sold = 0;
  shop.refuseAfter = 300;
  expect(await rig.deliver(who, 'ingest', task_id)).toMatchObject({ type: 'retry' });
  const [row] = await rig.as(who, () =>
    rig.database.tenant((sql) => sql<{ n: number }[]>`select count(*)::int as n from chunks where document_id = ${id}`),
  );
  expect(row?.n).toBe(shop.sold);
  shop.refuseAfter = Number.POSITIVE_INFINITY;
  expect(await rig.deliver(who, 'ingest', task_id)).toMatchObject({ type: 'done' });

  const stored = await storedText(id);
  expect(stored).toBe(text);
  const wanted = await chunkDocument(chunker, asDocument(stored));
  const chunks = await storedChunks(id);
  expect(chunks).toHaveLength(wanted.length);
  expect(shop.sold).toBe(wanted.length);
  for (const [at, chunk] of chunks.entries()) {
    const { start, end } = wanted[at] ?? { start: -1, end: -1 };
    if (chunk.start !== start || chunk.end !== end || chunk.text !== stored.slice(start, end)) {
      throw new Error(`chunk ${at} is at ${chunk.start}, not at ${start}, or says something else`);
    }
  }
  const shown = await rig.as(who, () => rig.chunkPreviews.preview({ document_id: id, limit: 5 }));
  expect(shown).toMatchObject({ total: wanted.length, complete: true });
}, 60_000);
