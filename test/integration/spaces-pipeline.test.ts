/** Another release's parser and chunker cut everything anew beside, and are switched to, back from and retired. */
import { afterAll, describe, expect, test } from 'bun:test';
import postgres from 'postgres';
import type { EmbeddingProvider, Extractor } from '../../src/contracts/index.ts';
import { ExtractError } from '../../src/ingest/extract-error.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { getHits } from '../../src/repositories/search.ts';
import { createLexicalCompactor } from '../../src/services/lexical-compactor.ts';
import { textKey } from '../../src/storage/blob-keys.ts';
import { pairChunker } from '../support/pair-chunker.ts';
import { createRig, linesOf, type Rig } from '../support/rig.ts';

type Who = Awaited<ReturnType<Rig['newTenant']>>;

/** Counts the document texts that it sells. */
function countingModel() {
  const builtin = createBuiltinEmbeddings({ dimensions: 64 });
  const sold: string[] = [];
  const provider: EmbeddingProvider = {
    ...builtin,
    maxBatch: 10,
    async embed(texts, options) {
      if (options.purpose === 'document') sold.push(...texts);
      return builtin.embed(texts, options);
    },
  };
  return { provider, sold };
}

const opened: { rigs: Rig[]; sql: postgres.Sql }[] = [];

/** An installation whose first release cuts a chunk a line, and whose next one cuts two. */
async function releases(extractor?: Extractor) {
  const { provider, sold } = countingModel();
  const old = await createRig({ embeddings: provider });
  const next = await createRig({
    of: old,
    embeddings: provider,
    chunker: pairChunker,
    ...(extractor && { extractor }),
  });
  const sql = postgres(old.db.adminUrl, { max: 2, onnotice: () => {} });
  opened.push({ rigs: [next, old], sql });
  const ingest = async (
    who: Who,
    text: string,
    { by = old, ...fields }: { by?: Rig; visibility?: string; source_item?: string } = {},
  ) => {
    const { receipt } = await by.upload(who, text, fields);
    expect(await by.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    return receipt.document_id;
  };
  const find = async (who: Who, query: string, mode: 'vector' | 'hybrid' | 'text' = 'hybrid', by = next) =>
    (await by.as(who, () => by.search.search({ query, top_k: 5, mode, filter: {} }))).results;
  const build = () => next.spaces.create({ pipeline: 'current', shadow_share: 1 });
  const count = async (table: string, where = 'true') =>
    Number((await sql.unsafe(`select count(*) as n from ${table} where ${where}`))[0]?.n);
  const settle = (rig: Rig) =>
    createLexicalCompactor({
      database: rig.database,
      clock: systemClock,
      ids: systemIds,
      logger: silentLogger,
      loose: 1,
    }).settle();
  return { old, next, sql, sold, ingest, find, build, count, settle };
}

afterAll(async () => {
  for (const { rigs, sql } of opened) {
    await sql.end();
    for (const rig of rigs) await rig.close();
  }
});

/** Another process of the next release, which asks before it buys. */
function otherProcess({ db, folder }: Pick<Rig, 'db' | 'folder'>) {
  const script = new URL('../support/pair-builder.ts', import.meta.url).pathname;
  const child = Bun.spawn(['bun', script, db.url, db.adminUrl, folder.path], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  return {
    /** The texts of each batch, until it has built everything. */
    async *asks(): AsyncGenerator<string[]> {
      let rest = '';
      for await (const piece of child.stdout.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + piece).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const texts: string[] = JSON.parse(line);
          if (texts.length === 0) return;
          yield texts;
        }
      }
    },
    answer() {
      child.stdin.write('go\n');
      child.stdin.flush();
    },
    async kill() {
      child.kill('SIGKILL');
      await child.exited;
    },
  };
}

const linesIn = (text: string | undefined) => text?.split('\n').length;

test('a switch of pipelines and the way back under load fail no search and leave none empty', async () => {
  const { old, next, sql, ingest, find, build, count, settle } = await releases();
  const [a, b] = [await old.newTenant(), await old.newTenant()];
  const documents: string[] = [];
  for (const who of [a, b]) {
    for (const seed of ['apple', 'pear', 'plum']) documents.push(await ingest(who, linesOf(25, seed)));
  }
  await settle(old);
  const before = (await old.spaces.current()).id;
  const [cited] = await find(a, 'apple 3', 'hybrid', old);
  const load = await old.as(a, () => old.documents.get(documents[0] ?? ''));
  const outstanding = await old.outstanding(a);

  const made = await build();
  expect(made).toMatchObject({ state: 'building', pipeline: 'pairs-1', cut: 1, documents: { built: 0, total: 6 } });
  await expect(next.spaces.activate(made.id)).rejects.toThrow('6 documents');
  let asking = true;
  const counts = { asked: 0, failed: 0, empty: 0, mixed: 0 };
  const modes = ['vector', 'hybrid', 'text'] as const;
  const asker = async (who: Who, by: Rig) => {
    while (asking) {
      const found = await find(who, 'apple 3', modes[counts.asked % 3], by).catch(() => undefined);
      counts.asked += 1;
      if (!found) counts.failed += 1;
      else if (found.length === 0) counts.empty += 1;
      // What the next release uploads meanwhile is cut by it, whichever cut is asked.
      const both = found?.filter(({ document_id }) => documents.includes(document_id)) ?? [];
      if (new Set(both.map(({ text }) => linesIn(text))).size > 1) counts.mixed += 1;
    }
  };
  let uploaded = 0;
  const uploader = async (by: Rig) => {
    while (asking) {
      uploaded += 1;
      await ingest(a, linesOf(4, `late ${uploaded}`), { by });
    }
  };
  const work = Promise.all([asker(a, old), asker(b, next), asker(a, next), uploader(next)]);
  await next.builder.build();
  await settle(next);
  const active = await next.spaces.activate(made.id);
  expect(active).toMatchObject({ state: 'active', previous_id: before });
  expect(active.documents.built).toBe(active.documents.total);
  const asOf = counts.asked;
  while (counts.asked < asOf + 15) await Bun.sleep(1);
  const started = performance.now();
  await next.spaces.rollback(made.id);
  const rollbackMs = performance.now() - started;
  while (counts.asked < asOf + 30) await Bun.sleep(1);
  asking = false;
  await work;
  expect(rollbackMs).toBeLessThan(60_000);
  expect(counts).toMatchObject({ failed: 0, empty: 0, mixed: 0 });
  expect(uploaded).toBeGreaterThan(1);

  old.spaces.forget();
  next.spaces.forget();
  expect(linesIn((await find(a, 'apple 3', 'hybrid', old))[0]?.text)).toBe(1);
  await next.spaces.activate(made.id);
  old.spaces.forget();
  for (const mode of modes) {
    for (const by of [old, next]) expect(linesIn((await find(a, 'apple 3', mode, by))[0]?.text)).toBe(2);
  }
  // What an answer cited before is still there, word for word, and what is shown of the document is what searches see.
  const again = await old.as(a, () => old.database.tenant((tx) => getHits(tx, [cited?.chunk_id ?? ''])));
  expect(again[0]?.text).toBe(cited?.text ?? '?');
  const shown = await next.as(a, () => next.documents.get(documents[0] ?? ''));
  expect(load).toMatchObject({ chunks: 25, version: 1, chunking: { chunk_tokens: 400 } });
  expect(shown).toMatchObject({ chunks: 13, version: 2, chunking: { chunk_tokens: 200 } });
  const page = await next.as(a, () => next.documents.chunks(documents[0] ?? '', { limit: 200 }));
  expect(page.items).toHaveLength(13);
  const listed = await next.as(a, () => next.documents.list({ limit: 200 }));
  expect(listed.items.find(({ id }) => id === documents[0])).toMatchObject({ chunks: 13, version: 2 });
  const text = await next.as(a, async () => new Response(await next.documents.text(documents[0] ?? '')).text());
  for (const chunk of page.items) expect(text.slice(chunk.start, chunk.end)).toBe(chunk.text);
  // No task was made for it, and nothing was counted.
  expect(await old.outstanding(a)).toBe(outstanding);
  expect(await count('tasks')).toBe(6 + uploaded);
  const lacking = await sql`
    select d.id, e.id as space from documents d cross join embedding_spaces e where not exists (
      select from document_spaces s where s.document_id = d.id and s.space_id = e.id)`;
  expect(lacking).toHaveLength(0);
}, 90_000);

describe('cutting anew', () => {
  test('that is killed in the middle is gone on with by another process, and buys nothing twice', async () => {
    const { old, next, sql, sold, ingest, find, build, count } = await releases();
    const who = await old.newTenant();
    for (const seed of ['one', 'two', 'three']) await ingest(who, linesOf(60, seed));
    await ingest(who, 'A single line is cut alike by both.');
    const { id } = await build();
    const process = otherProcess(old);
    const asked: string[] = [];
    let batches = 0;
    for await (const texts of process.asks()) {
      batches += 1;
      // A document and two batches of the next are in; what is asked for now is never bought.
      if (batches === 6) break;
      asked.push(...texts);
      process.answer();
    }
    await process.kill();
    expect(batches).toBe(6);
    expect(await count('chunk_vectors', `space_id = ${id}`)).toBe(50);
    expect(await count('document_versions', 'chunks is null')).toBe(1);
    sold.length = 0;
    // The killed process holds the space until its lease ends.
    await sql`update embedding_spaces set leased_until = now() where id = ${id}`;
    expect(await next.builder.build()).toBeGreaterThan(0);
    expect(await next.spaces.activate(id)).toMatchObject({ state: 'active', documents: { built: 4, total: 4 } });
    // Five batches and the one that was never answered; the single line was bought before there was another pipeline.
    expect(sold.length + asked.length).toBe(90);
    expect(new Set([...sold, ...asked]).size).toBe(90);
    expect(await count('document_versions', 'chunks is null')).toBe(0);
    expect((await find(who, linesOf(60, 'two').split('\n')[7] ?? ''))[0]?.text).toStartWith('two 6 ');
  }, 60_000);

  test('changes nothing of what searches answer until the switch', async () => {
    const { old, next, ingest, find, build, settle } = await releases();
    const who = await old.newTenant();
    for (const seed of ['apple', 'pear', 'plum']) await ingest(who, linesOf(25, seed));
    const answers = async () => [
      await find(who, 'apple 3', 'text', old),
      await find(who, 'pear line', 'hybrid', old),
      await find(who, 'plum 7', 'vector', old),
    ];
    await settle(old);
    const before = await answers();
    const { id } = await build();
    await next.builder.build();
    await settle(next);
    // Another number of the corpus, so that nothing is answered from what was kept.
    await ingest(who, 'Somebody else’s words.');
    const during = await answers();
    const places = (all: typeof before) => all.map((one) => one.map(({ chunk_id: chunk }) => chunk));
    expect(places(during)).toEqual(places(before));
    // What shadow reads compare are places, not names.
    await find(who, 'plum 7 once more', 'vector', next);
    await next.shadows.idle();
    const { items } = await next.spaces.list({ kind: 'installation' });
    const shadow = items.find((space) => space.id === id)?.shadow;
    expect(shadow?.compared).toBeGreaterThan(0);
    expect(shadow?.failed).toBe(0);
    expect(shadow?.overlap).toBeGreaterThan(0);
  }, 60_000);

  test('of a document that cannot be read is told, and stops no other; that one keeps its chunks', async () => {
    const refusing: Extractor = {
      extract: async () => ({ text: '', title: null, pages: [], headings: [] }),
      async extractFile({ path }) {
        const text = await Bun.file(path).text();
        if (text.startsWith('sealed')) throw new ExtractError('encrypted', 'It is encrypted.');
        if (text.startsWith('odd')) throw new Error('a bug of ours');
        const release = async () => {};
        return { textPath: path, chars: text.length, title: null, pages: [], headings: [], files: [], release };
      },
    };
    const { old, next, ingest, find, build, count } = await releases(refusing);
    const [who, other] = [await old.newTenant(), await old.newTenant()];
    const sealed = await ingest(who, linesOf(4, 'sealed'));
    const odd = await ingest(who, linesOf(4, 'odd'));
    await ingest(other, linesOf(4, 'open'));
    const { id } = await build();
    // What is no fault of the document for certain is tried three times.
    for (let round = 0; round < 3; round++) {
      await expect(next.spaces.activate(id)).rejects.toThrow('documents');
      await next.builder.build();
    }
    await next.builder.build();
    const failures = await next.spaces.failures(id, { kind: 'installation' }, { limit: 200 });
    expect(failures.items).toHaveLength(2);
    expect(failures.items.find(({ document_id: one }) => one === sealed)).toMatchObject({
      tenant_id: who.tenantId,
      code: 'encrypted',
      attempts: 1,
      given_up: true,
    });
    expect(failures.items.find(({ document_id: one }) => one === odd)).toMatchObject({ code: 'internal', attempts: 3 });
    const first = await next.spaces.failures(id, { kind: 'tenant', tenantId: who.tenantId }, { limit: 1 });
    const rest = await next.spaces.failures(
      id,
      { kind: 'tenant', tenantId: who.tenantId },
      { limit: 1, cursor: first.next_cursor ?? '' },
    );
    expect([...first.items, ...rest.items]).toEqual(failures.items);
    expect(rest.next_cursor).toBeNull();
    expect((await next.spaces.failures(id, { kind: 'tenant', tenantId: other.tenantId }, { limit: 9 })).items).toEqual(
      [],
    );
    expect(await next.spaces.activate(id)).toMatchObject({ documents: { built: 3, total: 3, failed: 2 } });
    for (const seed of ['sealed', 'odd']) expect(linesIn((await find(who, `${seed} 2`))[0]?.text)).toBe(1);
    expect(linesIn((await find(other, 'open 2'))[0]?.text)).toBe(2);
    // Nothing was bought for what kept its chunks, and nothing begun is left.
    expect(await count('document_versions', 'chunks is null')).toBe(0);
  }, 60_000);

  test('stays within its owner’s scope, and gives way to what is published or deleted meanwhile', async () => {
    const { old, next, ingest, find, build, count, sql } = await releases();
    const owner = await old.newTenant();
    const colleague = await old.addUser(owner.tenantId);
    await ingest(owner, 'The diary says\nnothing of tea.', { visibility: 'private' });
    const gone = await ingest(owner, linesOf(6, 'gone'));
    const { id } = await build();
    // Another process has begun one, and it is deleted in the middle.
    const process = otherProcess(old);
    for await (const texts of process.asks()) {
      if (texts[0]?.startsWith('gone')) await old.as(owner, () => old.documents.remove(gone));
      process.answer();
    }
    await process.kill();
    expect(await next.spaces.activate(id)).toMatchObject({ documents: { built: 1, total: 1 } });
    expect(await count('document_versions', `document_id = '${gone}'`)).toBe(0);
    expect(await sql`select 1 from chunks where document_id = ${gone}`).toHaveLength(0);
    await old.as(owner, async () => {
      for (const version of [1, 2]) await expect(old.blobs.read(textKey(gone, version))).rejects.toThrow();
    });
    expect(linesIn((await find(owner, 'diary tea'))[0]?.text)).toBe(2);
    expect(await find(colleague, 'diary tea')).toEqual([]);
  }, 60_000);
});

describe('what is left', () => {
  test('of the old pipeline goes a while after the switch, and nobody notices', async () => {
    const { old, next, sql, ingest, find, build, count, settle } = await releases();
    const who = await old.newTenant();
    const document = await ingest(who, linesOf(20));
    await settle(old);
    const left = (await old.spaces.current()).id;
    const { id } = await build();
    await next.builder.build();
    await settle(next);
    await next.spaces.activate(id);
    const later = async (hours: number) => {
      await sql`update embedding_spaces set changed_at = changed_at - ${hours} * interval '1 hour' where id = ${left}`;
      await next.builder.tidy();
    };
    const state = async () =>
      (await next.spaces.list({ kind: 'installation' })).items.find((one) => one.id === left)?.state;
    await later(23);
    expect(await state()).toBe('standby');
    await later(2);
    expect(await state()).toBe('read_only');
    await expect(next.spaces.rollback(id)).rejects.toThrow('state');
    next.spaces.forget();
    const late = await ingest(who, linesOf(4, 'late'), { by: next });
    await later(8 * 24);
    expect(await state()).toBe('retired');
    expect(await count('chunks', `document_id = '${document}'`)).toBe(10);
    expect(await count('chunk_vectors', `space_id <> ${id}`)).toBe(0);
    expect(await count('document_spaces', `space_id <> ${id}`)).toBe(0);
    expect(await count('lexical_documents', 'cut = 0')).toBe(0);
    expect(await count('lexical_segments', 'cut = 0')).toBe(0);
    expect(await count('documents', 'live_version = 2')).toBe(1);
    const shown = await next.as(who, () => next.documents.get(document));
    expect(shown).toMatchObject({ version: 2, chunks: 10, status: 'ready' });
    expect(linesIn((await find(who, 'line 3'))[0]?.text)).toBe(2);
    expect((await find(who, 'late 1'))[0]?.document_id).toBe(late);
    // Deleting it takes everything along, and a round later finds nothing to do.
    await next.as(who, () => next.documents.remove(document));
    expect(await count('document_versions', `document_id = '${document}'`)).toBe(0);
    await next.builder.tidy();
  }, 60_000);

  test('of a space that was given up while it was built goes at once', async () => {
    const { old, next, ingest, find, build, count, settle } = await releases();
    const who = await old.newTenant();
    await ingest(who, linesOf(20));
    const { id } = await build();
    await next.builder.build();
    await settle(next);
    expect(await count('chunks', 'version = 2')).toBe(10);
    await next.spaces.retire(id);
    await next.builder.tidy();
    expect(await count('chunks', 'version = 2')).toBe(0);
    expect(await count('document_versions', 'version = 2')).toBe(0);
    expect(await count('lexical_documents', 'cut = 1')).toBe(0);
    expect(await count('lexical_segments', 'cut = 1')).toBe(0);
    expect(await count('chunk_vectors', `space_id = ${id}`)).toBe(0);
    expect(linesIn((await find(who, 'line 3'))[0]?.text)).toBe(1);
    // The same pipeline may be built anew.
    const again = await build();
    expect(again.cut).toBe(2);
    expect(await next.builder.build()).toBe(1);
    await next.spaces.activate(again.id);
    await expect(build()).rejects.toThrow('already');
    await expect(next.spaces.create({ shadow_share: 1 })).rejects.toThrow('the space that there is');
  }, 60_000);

  test('where a document is published anew is nothing of the versions beside', async () => {
    const { old, next, ingest, find, build, count } = await releases();
    const who = await old.newTenant();
    const fields = { source_item: 'notes' };
    const document = await ingest(who, linesOf(6, 'first'), fields);
    const { id } = await build();
    await next.builder.build();
    expect(await count('document_versions')).toBe(2);
    // By the release before: its chunks are not what the new space is for.
    expect(await ingest(who, linesOf(6, 'second'), fields)).toBe(document);
    expect(await count('document_versions')).toBe(1);
    expect(await count('chunks')).toBe(6);
    await next.as(who, async () => {
      // Nobody was ever shown it.
      await expect(next.blobs.read(textKey(document, 2))).rejects.toThrow();
    });
    await expect(next.spaces.activate(id)).rejects.toThrow('1 documents');
    expect(await next.builder.build()).toBe(1);
    await next.spaces.activate(id);
    expect(linesIn((await find(who, 'second 1'))[0]?.text)).toBe(2);
    // And by this one: one version for both spaces.
    expect(await ingest(who, linesOf(6, 'third'), { ...fields, by: next })).toBe(document);
    expect(await count('document_versions')).toBe(1);
    expect(await count('chunks')).toBe(3);
    expect(await count('document_spaces')).toBe(2);
    await next.spaces.rollback(id);
    expect(linesIn((await find(who, 'third 1', 'vector'))[0]?.text)).toBe(2);
    expect(linesIn((await find(who, 'third 1', 'text'))[0]?.text)).toBe(2);
    await next.as(who, () => next.documents.remove(document));
    expect(await count('document_versions')).toBe(0);
    expect(await count('chunks')).toBe(0);
    expect(await find(who, 'third 1')).toEqual([]);
  }, 60_000);
});
