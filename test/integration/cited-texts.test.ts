/** What an answer cites can be looked up later: after its document was replaced or cut anew, and until it is deleted. */
import { afterAll, describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import type { AnswerRequest, Source } from '../../src/contracts/index.ts';
import { migrate, readMigrations } from '../../src/db/migrate.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { done } from '../../src/kernel/outcome.ts';
import { createBuiltinChat } from '../../src/llm/builtin-chat.ts';
import { createKeptTextsSweep } from '../../src/services/kept-texts.ts';
import { pairChunker } from '../support/pair-chunker.ts';
import { createRig, type Rig } from '../support/rig.ts';
import { createTestDatabase } from '../support/services.ts';

type Who = Awaited<ReturnType<Rig['newTenant']>>;

const opened: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of opened.toReversed()) await close();
});

const OLD = '雾灯在夜里亮着。\n😀 The harbour tariff is two coins.\nIt was raised in the spring.\nWhales sing.';
const NEW = 'Nothing of it.\nThe harbour tariff is nine coins.';

/** An installation whose model cites the first passage, with a next release that cuts otherwise. */
async function start() {
  const state: { says: (request: AnswerRequest) => Promise<string> } = {
    says: async ({ passages }) => `${passages[0]?.text.split('\n')[0] ?? ''} [1].`,
  };
  const chat = {
    ...createBuiltinChat(),
    async *answer(request: AnswerRequest) {
      yield { type: 'delta' as const, text: await state.says(request) };
    },
  };
  const rig = await createRig({ chat });
  const next = await createRig({ of: rig, chat, chunker: pairChunker });
  const sql = postgres(rig.db.adminUrl, { max: 2, onnotice: () => {} });
  opened.push(
    () => rig.close(),
    () => next.close(),
    () => sql.end(),
  );
  const { sweep } = createKeptTextsSweep({
    database: rig.database,
    blobs: rig.blobs,
    clock: systemClock,
    logger: silentLogger,
  });
  return {
    rig,
    next,
    sql,
    state,
    async publish(who: Who, text: string, fields: Record<string, string> = { source_item: 'tariff' }) {
      const { receipt } = await rig.upload(who, text, fields);
      expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual(done);
      return receipt.document_id;
    },
    async ask(who: Who, by: Rig = rig) {
      by.spaces.forget();
      const sent = await by.as(who, () => by.chat.send({ content: 'What is the harbour tariff?' }));
      expect(await by.deliver(who, 'chat', sent.turn_id)).toEqual(done);
      return sent.conversation_id;
    },
    /** The sources of a conversation's answer as its messages and its turn tell them, which must be the same. */
    async sources(who: Who, conversation: string): Promise<Source[]> {
      return rig.as(who, async () => {
        const { items } = await rig.conversations.messages(conversation, { limit: 9 });
        const answer = items.find(({ role }) => role === 'assistant');
        const turn = await rig.chat.turn(answer?.turn_id ?? '');
        expect(turn.sources).toEqual(answer?.sources ?? []);
        return turn.sources;
      });
    },
    textOf: (who: Who, { document_id: id, version }: Pick<Source, 'document_id' | 'version'>) =>
      rig.as(who, async () => new Response(await rig.documents.text(id, version ?? undefined)).text()),
    /** Looks at everything that is kept as if its time had come. */
    async lookNow() {
      await sql`update kept_texts set look_at = now()`;
      return sweep();
    },
    sweep,
    texts: async ({ tenantId }: Who) =>
      (
        await readdir(join(rig.folder.path, 'blobs', 'texts', tenantId), {
          recursive: true,
          withFileTypes: true,
        }).catch(() => [])
      )
        .filter((entry) => entry.isFile())
        .map(({ name }) => name)
        .sort(),
  };
}

describe('an answer', () => {
  test('leads to the text that it cites after its document was replaced, for as long as it is there', async () => {
    const { rig, publish, ask, sources, textOf, lookNow, texts } = await start();
    const who = await rig.newTenant();
    const id = await publish(who, OLD);
    const conversation = await ask(who);
    const [before] = await sources(who, conversation);
    expect(before).toMatchObject({ version: 1, state: 'current', verified: true });
    await publish(who, NEW);
    await publish(who, `${NEW} It stays.`);
    const [after] = await sources(who, conversation);
    if (!after) throw new Error('the source is gone');
    expect(after).toEqual({ ...before, state: 'replaced' } as Source);
    expect(await textOf(who, after)).toBe(OLD);
    expect(OLD.slice(after.start, after.end)).toBe('😀 The harbour tariff is two coins.');
    expect(after.quote).toBe('😀 The harbour tariff is two coins.');
    // What none cites goes once its time is over, what is cited stays.
    expect(await texts(who)).toEqual(['v1', 'v2', 'v3']);
    expect(await lookNow()).toBe(2);
    expect(await texts(who)).toEqual(['v1', 'v3']);
    await expect(textOf(who, { document_id: id, version: 2 })).rejects.toThrow('version 2 is not kept');
    await expect(textOf(who, { document_id: id, version: 9 })).rejects.toThrow('version 9 is not kept');
    expect(await textOf(who, { document_id: id, version: 3 })).toContain('It stays');
    // The last answer that cites it goes, and it goes too.
    await rig.as(who, () => rig.conversations.remove(conversation));
    expect(await lookNow()).toBe(1);
    expect(await texts(who)).toEqual(['v3']);
  });

  test('says of a deleted document that it is deleted, and nothing of its texts is left', async () => {
    const { rig, sql, publish, ask, sources, textOf, texts } = await start();
    const who = await rig.newTenant();
    const id = await publish(who, OLD);
    const conversation = await ask(who);
    await publish(who, NEW);
    await rig.as(who, () => rig.documents.remove(id));
    const [source] = await sources(who, conversation);
    expect(source).toMatchObject({ state: 'deleted', version: 1 });
    await expect(textOf(who, { document_id: id, version: 1 })).rejects.toThrow('no such document');
    expect(await texts(who)).toEqual([]);
    expect(await sql`select 1 from kept_texts`).toHaveLength(0);
  });

  test('whose document is replaced while it is written keeps its quote', async () => {
    const { rig, state, publish, ask, sources, textOf } = await start();
    const who = await rig.newTenant();
    await publish(who, OLD);
    state.says = async () => {
      await publish(who, NEW);
      return 'The harbour tariff is two coins [1].';
    };
    const [source] = await sources(who, await ask(who));
    if (!source) throw new Error('the source is gone');
    expect(source).toMatchObject({ version: 1, state: 'replaced', verified: true });
    expect((await textOf(who, source)).slice(source.start, source.end)).toBe(source.quote);
    expect(source.quote).not.toBe('');
  });

  test('leads to the text of the pipeline that it was given by, whichever is shown and whichever is retired', async () => {
    const { rig, next, sql, publish, ask, sources, textOf, lookNow } = await start();
    const who = await rig.newTenant();
    await publish(who, OLD);
    const first = await ask(who);
    const check = async (conversation: string, expected: Partial<Source>) => {
      const [source] = await sources(who, conversation);
      if (!source) throw new Error('the source is gone');
      expect(source).toMatchObject({ verified: true, ...expected });
      expect((await textOf(who, source)).slice(source.start, source.end)).toBe(source.quote);
    };
    const old = (await rig.spaces.current()).id;
    const { id } = await next.spaces.create({ pipeline: 'current', shadow_share: 1 });
    await next.builder.build();
    await next.spaces.activate(id);
    const second = await ask(who, next);
    await check(first, { version: 1, state: 'replaced' });
    await check(second, { version: 2, state: 'current' });
    await next.spaces.rollback(id);
    await check(first, { version: 1, state: 'current' });
    await check(second, { version: 2, state: 'replaced' });
    // The pipeline that was left is given up, with what it had cut.
    await next.spaces.retire(id);
    await next.builder.tidy();
    expect(await sql`select 1 from chunks where version = 2`).toHaveLength(0);
    await check(second, { version: 2, state: 'replaced' });
    // And again the other way about.
    const again = await next.spaces.create({ pipeline: 'current', shadow_share: 1 });
    await next.builder.build();
    await next.spaces.activate(again.id);
    await sql`update embedding_spaces set state = 'read_only' where id = ${old}`;
    await next.spaces.retire(old);
    await next.builder.tidy();
    expect(await sql`select 1 from chunks where version = 1`).toHaveLength(0);
    expect(await lookNow()).toBe(2);
    await check(first, { version: 1, state: 'replaced' });
    await check(second, { version: 2, state: 'replaced' });
  }, 60_000);
});

test('answers of before say which version they cite, as far as its chunks are there', async () => {
  const beside = await createTestDatabase();
  opened.push(() => beside.drop());
  const admin = postgres(beside.adminUrl, { max: 1 });
  opened.push(() => admin.end());
  const empty = `${beside.name}_old`;
  await admin.unsafe(`create database ${empty}`);
  opened.push(() => admin.unsafe(`drop database ${empty} with (force)`));
  const url = new URL(beside.adminUrl);
  url.pathname = `/${empty}`;
  const how = { url: url.href, embedded: false, logger: silentLogger };
  const all = await readMigrations();
  await migrate({ ...how, migrations: all.filter(({ name }) => name < '0178') });
  const sql = postgres(url.href, { max: 1, onnotice: () => {} });
  opened.push(() => sql.end());
  const ids = ['tenant', 'user', 'document', 'chunk', 'gone', 'conversation', 'question', 'answer', 'turn'] as const;
  const id = Object.fromEntries(ids.map((name) => [name, crypto.randomUUID()])) as Record<(typeof ids)[number], string>;
  const sources = [
    { n: 1, document_id: id.document, chunk_id: id.gone },
    { n: 2, document_id: id.document, chunk_id: id.chunk },
  ];
  const own = { tenant_id: id.tenant, user_id: id.user, conversation_id: id.conversation };
  await sql`insert into tenants ${sql({ id: id.tenant, name: 't' })}`;
  await sql`insert into documents ${sql({
    ...{
      id: id.document,
      tenant_id: id.tenant,
      owner_id: id.user,
      visibility: 'tenant',
      title: 't',
      filename: 'f',
      media_type: 'text/plain',
    },
    ...{ size: 1, sha256: Buffer.alloc(32), source_type: 'upload', last_version: 7, live_version: 7, status: 'ready' },
  })}`;
  await sql`insert into chunks ${sql({
    ...{ tenant_id: id.tenant, id: id.chunk, document_id: id.document, version: 7, ordinal: 0, text: 'a', tokens: 1 },
    ...{ start_offset: 0, end_offset: 1, terms: 1, tsv: '' },
  })}`;
  // A retired pipeline's.
  await sql`insert into document_versions ${sql({ tenant_id: id.tenant, document_id: id.document, version: 5, pipeline: 'p', chunks: 1 })}`;
  await sql`insert into conversations ${sql({ tenant_id: id.tenant, id: id.conversation, user_id: id.user })}`;
  await sql`insert into turns ${sql({ ...own, id: id.turn, message_id: id.question, answer_id: id.answer, status: 'completed' })}`;
  await sql`update turns set sources = ${sql.json(sources)}`;
  const message = { ...own, turn_id: id.turn, content: 'x' };
  await sql`insert into messages ${sql([
    { ...message, id: id.question, position: 1, role: 'user' },
    { ...message, id: id.answer, position: 2, role: 'assistant' },
  ])}`;
  await sql`update messages set sources = ${sql.json(sources)} where role = 'assistant'`;
  await migrate(how);
  const told = [sources[0], { ...sources[1], version: 7 }];
  const rows = async (query: string) => (await sql.unsafe(query).values()).map((row): unknown[] => [...row]);
  expect(await rows('select sources from messages order by position')).toEqual([[[]], [told]]);
  expect(await rows('select sources from turns')).toEqual([[told]]);
  expect(await rows('select turn_id, document_id, version, user_id from turn_citations')).toEqual([
    [id.turn, id.document, 7, id.user],
  ]);
  expect(await rows('select document_id, version from kept_texts')).toEqual([[id.document, 5]]);
});

describe('texts that are kept', () => {
  test('are their own tenant’s, and a private document’s its owner’s', async () => {
    const { rig, sql, publish, ask, sources, textOf, lookNow } = await start();
    const owner = await rig.newTenant();
    const colleague = await rig.addUser(owner.tenantId);
    const stranger = await rig.newTenant();
    const secret = { source_item: 'diary', visibility: 'private' };
    const id = await publish(owner, OLD, secret);
    const conversation = await ask(owner);
    await publish(owner, NEW, secret);
    expect(await textOf(owner, { document_id: id, version: 1 })).toBe(OLD);
    for (const other of [colleague, stranger]) {
      await expect(textOf(other, { document_id: id, version: 1 })).rejects.toThrow('no such document');
      const seen = await rig.as(other, () => rig.database.tenant((tx) => tx`select 1 from kept_texts`));
      expect(seen).toHaveLength(0);
      const cited = await rig.as(other, () => rig.database.tenant((tx) => tx`select 1 from turn_citations`));
      expect(cited).toHaveLength(0);
    }
    // The sweep sees the owner's citation, though it looks in nobody's name.
    expect(await lookNow()).toBe(1);
    expect((await sources(owner, conversation))[0]).toMatchObject({ state: 'replaced' });
    expect(await sql`select 1 from kept_texts where look_at > now() + interval '6 days'`).toHaveLength(1);
  });

  test('are no more than a document may have: what nobody cites early, what is cited beyond a thousand', async () => {
    const { rig, sql, publish, ask, sources, textOf, sweep, texts } = await start();
    const who = await rig.newTenant();
    const id = await publish(who, OLD);
    const conversation = await ask(who);
    for (let version = 2; version <= 19; version += 1) await publish(who, `${NEW} ${version}`);
    // Of eighteen two are beyond the sixteen newest: the first, which is cited, and the second.
    expect(await sweep()).toBe(2);
    expect((await texts(who)).length).toBe(18);
    await expect(textOf(who, { document_id: id, version: 2 })).rejects.toThrow('not kept');
    expect(await textOf(who, { document_id: id, version: 1 })).toBe(OLD);
    // As if there had been a thousand that answers cite.
    await sql`insert into kept_texts (tenant_id, document_id, version)
      select ${who.tenantId}, ${id}, n from generate_series(1000, 1999) n`;
    await sql`update kept_texts set look_at = now() where version = 1`;
    expect(await sweep()).toBe(1);
    expect((await sources(who, conversation))[0]).toMatchObject({ state: 'unavailable' });
    await expect(textOf(who, { document_id: id, version: 1 })).rejects.toThrow('not kept');
  }, 60_000);

  test('go on when their time has come and the store of blobs was away', async () => {
    const { rig, publish, sql, texts } = await start();
    const who = await rig.newTenant();
    const id = await publish(who, OLD);
    await publish(who, NEW);
    await sql`update kept_texts set look_at = now()`;
    const broken = createKeptTextsSweep({
      database: rig.database,
      blobs: { remove: () => Promise.reject(new Error('away')) },
      clock: systemClock,
      logger: silentLogger,
    });
    expect(await broken.sweep()).toBe(0);
    // The row is gone and promises nothing; the blob that stays goes with its document.
    expect(await sql`select 1 from kept_texts`).toHaveLength(0);
    expect(await texts(who)).toEqual(['v1', 'v2']);
    await rig.as(who, () => rig.documents.remove(id));
    expect(await texts(who)).toEqual([]);
  });
});
