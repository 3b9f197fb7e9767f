/** What the other side gets wrong: nothing is lost by it, nothing else stands still, and it is said in words. */
import { afterAll, describe, expect, test } from 'bun:test';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Type } from '@sinclair/typebox';
import hoodiecrow from 'hoodiecrow-imap';
import type { SourceProvider } from '../../src/contracts/index.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { createSources } from '../../src/services/sources.ts';
import { closeAll, closers, html, type Page, startSite, startSources } from '../support/source-rig.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

afterAll(closeAll);

const canonical = (title: string, address: string, ...links: string[]) =>
  html(title, ...links).replace('<head>', `<head><link rel="canonical" href="${address}">`);

/** A clock whose pauses are noted instead of waited for. */
function noting(): { clock: Clock; pauses: number[] } {
  const pauses: number[] = [];
  return { pauses, clock: { ...systemClock, sleep: async (ms) => void pauses.push(ms) } };
}

describe('a site', () => {
  test('whose sitemap cannot be read keeps the pages that it alone named, unless they are gone themselves', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const sitemap = (url: string, ...paths: string[]) =>
      `<urlset>${paths.map((path) => `<url><loc>${url}${path}</loc></url>`).join('')}</urlset>`;
    const site = startSite({ '/': { body: html('Home') }, '/a': { body: html('A') }, '/b': { body: html('B') } });
    const map: Page = { body: sitemap(site.url, '/a', '/b'), type: 'application/xml' };
    site.pages['/sitemap.xml'] = map;
    const source = await rig.make(who, { kind: 'web', url: `${site.url}/` });
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 3 });
    const broken: Page[] = [
      { ...map, status: 503 },
      { ...map, status: 403 },
      { ...map, body: sitemap(site.url, '/a').slice(0, 20) },
      { ...map, body: new Uint8Array([0x1f, 0x8b, 8, 0, 1, 2, 3]) },
    ];
    for (const page of broken) {
      site.pages['/sitemap.xml'] = page;
      expect((await rig.sync(who, source)).counts).toMatchObject({ unchanged: 3, removed: 0, failed: 0 });
    }
    delete site.pages['/b'];
    expect((await rig.sync(who, source)).counts).toMatchObject({ unchanged: 2, removed: 1 });
    delete site.pages['/sitemap.xml'];
    expect((await rig.sync(who, source)).counts).toMatchObject({ unchanged: 1, removed: 1 });
  });

  test('whose pages name each other, or what leads back to them, has each of them once', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const site = startSite({});
    Object.assign(site.pages, {
      '/': { body: html('Home', '/one', '/two', '/slash/', '/missing', '/print', '/hidden'), etag: '"1"' },
      '/one': { body: canonical('One', '/two'), etag: '"1"' },
      '/two': { body: canonical('Two', '/one'), etag: '"1"' },
      '/slash/': { body: canonical('Slash', '/slash'), etag: '"1"' },
      '/slash': { status: 301, location: '/slash/' },
      '/missing': { body: canonical('Missing', '/nowhere'), etag: '"1"' },
      '/print': { body: canonical('Print', '/page') },
      '/page': { body: html('Page'), etag: '"1"' },
      '/hidden': { body: canonical('Hidden', '/quiet') },
      '/quiet': { body: html('Quiet').replace('<head>', '<head><meta name="robots" content="noindex">') },
    } satisfies Record<string, Page>);
    const source = await rig.make(who, { kind: 'web', url: `${site.url}/`, sitemap: false });
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 5, failed: 0 });
    const titles = async () => (await rig.documentsOf(who)).map(({ title }) => title).toSorted();
    expect(await titles()).toEqual(['Home', 'Missing', 'One', 'Page', 'Slash']);

    // From now on they are what they are, and unchanged each costs one question.
    site.asked.length = 0;
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 0, unchanged: 5, removed: 0 });
    expect(site.asked.filter((line) => /one|slash|missing/.test(line)).toSorted()).toEqual([
      '304 /missing',
      '304 /one',
      '304 /slash/',
    ]);
    expect(await titles()).toEqual(['Home', 'Missing', 'One', 'Page', 'Slash']);
  });

  test('that asks to be left alone for a while is waited for, within reason, and then left alone', async () => {
    const { clock, pauses } = noting();
    const rig = await startSources({ clock });
    const who = await rig.newTenant();
    const asked: string[] = [];
    let busy: Record<string, string | undefined> = {};
    const names = Array.from({ length: 8 }, (_, i) => `/p${i}`);
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch({ url }) {
        const { pathname } = new URL(url);
        asked.push(pathname);
        if (pathname === '/robots.txt') return new Response('no', { status: 404 });
        const wait = busy[pathname];
        if (wait !== undefined) return new Response('busy', { status: 429, headers: { 'retry-after': wait } });
        const body = pathname === '/' ? html('Home', ...names) : html(pathname);
        return new Response(body, { headers: { 'content-type': 'text/html' } });
      },
    });
    closers.push(() => server.stop(true));
    const url = `http://127.0.0.1:${server.port}`;
    const source = await rig.make(who, { kind: 'web', url: `${url}/`, sitemap: false });

    // One page has no time now: it is asked three times more, and the rest goes on.
    busy = { '/p0': '7' };
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 8, failed: 1 });
    expect(pauses).toEqual([7_000, 7_000, 7_000]);

    // The whole site has no time for an hour: after five pages nothing more is asked, and nothing before the hour is over.
    busy = Object.fromEntries(names.map((name) => [name, '3600']));
    asked.length = 0;
    pauses.length = 0;
    const before = Date.now();
    const failed = await rig.sync(who, source);
    expect(failed).toMatchObject({ status: 'failed', error: expect.stringContaining('429') });
    expect(Date.parse(failed.next_sync_at ?? '')).toBeGreaterThan(before + 3_500_000);
    expect([asked.filter((path) => path.startsWith('/p')).length, pauses]).toEqual([5, []]);
    expect(await rig.documentsOf(who)).toHaveLength(8);

    busy = {};
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 1, removed: 0, failed: 0 });
  });
});

/** Answers one command of an IMAP connection in the server's place. */
async function startImapProxy(port: number, state: { refuse?: RegExp | undefined }) {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket
        .on('error', () => undefined)
        .on('close', () => {
          client.destroy();
          upstream.destroy();
        });
    }
    upstream.pipe(client);
    client.on('data', (bytes) => {
      const [tag, ...command] = bytes.toString('latin1').trim().split(' ');
      if (state.refuse?.test(command.join(' '))) client.write(`${tag} NO [INUSE] Try again later\r\n`);
      else upstream.write(bytes);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as { port: number }).port;
}

test('a mailbox whose server refuses to list it, or to send of it, loses nothing', async () => {
  const rig = await startSources();
  const who = await rig.newTenant();
  const raw = (id: number) =>
    `From: Ada <ada@example.com>\r\nSubject: Letter ${id}\r\nMessage-ID: <${id}@example.com>\r\n\r\nBody ${id}.\r\n`;
  const imap = hoodiecrow({
    users: { ada: { password: 'secret word' } },
    storage: { INBOX: { messages: [{ raw: raw(1) }, { raw: raw(2) }] } },
  });
  await new Promise<void>((resolve) => imap.listen(0, resolve));
  closers.push(() => new Promise<void>((resolve) => imap.close(resolve)));
  const state: { refuse?: RegExp } = {};
  const port = await startImapProxy((imap.server.address() as { port: number }).port, state);
  const source = await rig.make(who, {
    kind: 'mail',
    host: '127.0.0.1',
    port,
    secure: false,
    user: 'ada',
    password: 'secret word',
  });
  expect((await rig.sync(who, source)).counts).toMatchObject({ added: 2 });
  state.refuse = /SEARCH/i;
  const failed = await rig.sync(who, source);
  expect(failed).toMatchObject({ status: 'failed', error: expect.stringContaining('does not list') });
  expect(await rig.documentsOf(who)).toHaveLength(2);

  imap.appendMessage('INBOX', [], '02-Jan-2026 10:00:00 +0000', raw(3));
  state.refuse = /FETCH/i;
  expect(await rig.sync(who, source)).toMatchObject({ status: 'failed' });
  expect(await rig.documentsOf(who)).toHaveLength(2);
  state.refuse = /nothing of the kind/;
  expect((await rig.sync(who, source)).counts).toMatchObject({ added: 1, unchanged: 2, removed: 0 });
});

describe('a bucket', () => {
  /** Objects by key, listed as Amazon's server lists them. */
  async function bucket(objects: Map<string, string>, answer: { list?: string } = {}) {
    const asked: string[] = [];
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch({ url }) {
        const { pathname, searchParams } = new URL(url);
        asked.push(pathname);
        if (!searchParams.has('list-type')) {
          const text = objects.get(decodeURIComponent(pathname.slice('/papers/'.length)));
          return new Response(text ?? 'no', { status: text === undefined ? 404 : 200 });
        }
        if (answer.list !== undefined) return new Response(answer.list);
        expect(searchParams.get('encoding-type')).toBe('url');
        const contents = [...objects].map(([key, text]) => {
          const name = encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/');
          return `<Contents><Key>${name}</Key><ETag>"${Bun.hash(text)}"</ETag><Size>${text.length}</Size></Contents>`;
        });
        const kind = '<EncodingType>url</EncodingType>';
        return new Response(`<?xml version="1.0"?><ListBucketResult>${contents.join('')}${kind}</ListBucketResult>`);
      },
    });
    closers.push(() => server.stop(true));
    const keys = { access_key_id: 'key', secret_access_key: 'word' };
    return { asked, settings: { kind: 's3', bucket: 'papers', endpoint: `http://127.0.0.1:${server.port}`, ...keys } };
  }

  test('has every name that a bucket can have, and none is taken for another', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const textOf = (name: string) => `text of ${encodeURIComponent(name)}`;
    const names = ['a b+c%20.txt', 'nul\u0001.txt', 'é/ü?.txt', 'x/../other.txt'];
    const { asked, settings } = await bucket(new Map([...names, 'other.txt'].map((name) => [name, textOf(name)])));
    const source = await rig.make(who, settings);
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 4, failed: 1 });
    const documents = await rig.documentsOf(who);
    const texts = await Promise.all(documents.map(({ id }) => rig.textOf(who, id)));
    expect(new Set(texts)).toEqual(new Set([...names.slice(0, 3), 'other.txt'].map((name) => textOf(name))));
    expect(await rig.itemsOf(who, source, true)).toMatchObject([{ key: 'x/../other.txt', document_id: null }]);
    expect(asked.filter((path) => path.endsWith('other.txt'))).toHaveLength(1);
  });

  test('in whose place something else answers loses nothing', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const answer: { list?: string } = {};
    const { settings } = await bucket(new Map([['a.txt', 'one']]), answer);
    const source = await rig.make(who, settings);
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 1 });
    for (const list of ['<html><body>Please sign in</body></html>', '<Error><Code>SlowDown</Code></Error>', '']) {
      answer.list = list;
      expect(await rig.sync(who, source)).toMatchObject({ status: 'failed', error: expect.stringContaining('list') });
      expect(await rig.documentsOf(who)).toHaveLength(1);
    }
  });
});

/** Runs a script as somebody who may read less than we do. */
async function asNobody(script: string): Promise<unknown> {
  const child = Bun.spawn([process.execPath, '-e', script], { stdout: 'pipe', stderr: 'pipe' });
  const [output, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(errors);
  return JSON.parse(output);
}

test.skipIf(process.getuid?.() !== 0)(
  'a folder’s files that may not be read fail alone, and keep what they were',
  async () => {
    const folder = await temporaryFolder();
    closers.push(() => folder.remove());
    const root = join(folder.path, 'root');
    await mkdir(join(root, 'shut', 'deep'), { recursive: true });
    for (const name of ['a.txt', 'b.txt', 'shut/c.txt']) await writeFile(join(root, name), name);
    for (const path of [folder.path, root]) await chmod(path, 0o755);
    await chmod(join(root, 'a.txt'), 0o600);
    await chmod(join(root, 'shut'), 0o700);
    const provider = Bun.fileURLToPath(new URL('../../src/ingest/sources/folder.ts', import.meta.url));
    const listed = await asNobody(`
    const { createFolderProvider } = await import(${JSON.stringify(provider)});
    process.setgid(65534);
    process.setuid(65534);
    const provider = createFolderProvider({ folders: [{ path: ${JSON.stringify(root)}, tenantId: null }] });
    const session = await provider.open({
      settings: { path: ${JSON.stringify(root)} }, tenantId: 't', cursor: null, maxBytes: 100,
      known: () => undefined, keys: () => ['a.txt', 'shut/c.txt', 'shut/deep/d.txt', 'shutter.txt'],
      file: async () => { throw new Error() }, signal: new AbortController().signal,
    });
    const items = {};
    for await (const item of session.list()) {
      items[item.key] = await session.fetch(item).then(
        async (got) => got.body ? await new Response(got.body).text() : got,
        (error) => error.name + ': ' + error.message,
      );
    }
    console.log(JSON.stringify(items));
  `);
    expect(listed).toEqual({
      'a.txt': 'SourceError: The file may not be read by DreamHub.',
      'b.txt': 'b.txt',
      shut: 'SourceError: The folder may not be read by DreamHub.',
      'shut/c.txt': 'SourceError: The file may not be read by DreamHub.',
      'shut/deep/d.txt': 'SourceError: The file may not be read by DreamHub.',
    });
  },
);

/** Items that a test puts there. */
function shelf(
  items: Map<string, { text: string; title?: string; metadata?: Record<string, unknown> }>,
): SourceProvider {
  return {
    kind: 'shelf',
    settings: Type.Object({}),
    secrets: [],
    open: async () => ({
      async *list() {
        for (const [key, { text }] of items) yield { key, fingerprint: text };
      },
      async fetch({ key, fingerprint }) {
        const { text = '', ...more } = items.get(key) ?? {};
        return {
          body: new Blob([text]).stream() as AsyncIterable<Uint8Array>,
          filename: 'a.txt',
          fingerprint,
          ...more,
        };
      },
    }),
  };
}

describe('a sync', () => {
  test('takes in what is named and titled as no database could keep it, and is not ended by it', async () => {
    const items = new Map([
      ['', { text: 'no name' }],
      ['a\0b', { text: 'NUL' }],
      ['\ud800', { text: 'half a pair' }],
      ['good', { text: 'good', title: 'T\0itle \ud800', metadata: { from: 'x\0y', deep: ['\udc00'] } }],
      ['last', { text: 'last' }],
    ]);
    const rig = await startSources({ more: [shelf(items)] });
    const who = await rig.newTenant();
    const source = await rig.make(who, { kind: 'shelf' });
    const synced = await rig.sync(who, source);
    expect(synced).toMatchObject({ status: 'idle', counts: { added: 2, failed: 3 } });
    expect(await rig.documentsOf(who)).toMatchObject([
      { title: 'T itle \ufffd', metadata: { from: 'x y', deep: ['\ufffd'] } },
      { source_item: 'last' },
    ]);
  });

  test('of an mbox or a calendar takes its items in by other names where theirs cannot be kept', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const mail = await rig.make(who, { kind: 'mail', mbox_file: true });
    const send = (source: typeof mail, text: string) =>
      rig.as(who, () =>
        rig.sources.putFile(source.id, { body: new Blob([text]).stream(), signal: new AbortController().signal }),
      );
    await send(
      mail,
      'From a@example.com Fri Jan  2 10:00:00 2026\nSubject: One\nMessage-ID: <\0@x>\n\nBody one.\n\n' +
        'From a@example.com Fri Jan  2 10:00:00 2026\nSubject: Two\nMessage-ID: \n\nBody two.\n\n',
    );
    // Bytes with a NUL are no mail that could be read, and fail alone.
    expect(await rig.sync(who, mail)).toMatchObject({ error: null, counts: { added: 1, failed: 1 } });
    expect(await rig.itemsOf(who, mail, true)).toMatchObject([{ key: expect.stringMatching(/^[0-9a-f]{64}$/) }]);
    const calendar = await rig.make(who, { kind: 'calendar', file: true });
    const event = (uid: string) =>
      `BEGIN:VEVENT\r\nUID:${uid}\r\nDTSTART:20260101T100000Z\r\nSUMMARY:E\0vent\r\nEND:VEVENT\r\n`;
    await send(calendar, `BEGIN:VCALENDAR\r\nVERSION:2.0\r\n${event('a\0b')}${event('c')}END:VCALENDAR\r\n`);
    expect(await rig.sync(who, calendar)).toMatchObject({ error: null, counts: { added: 2, failed: 0 } });
  });

  test('that somebody asks for while its source is deleted leaves nothing', async () => {
    const items = new Map(['a', 'b'].map((name) => [name, { text: name }]));
    const provider = shelf(items);
    const rig = await startSources({ more: [provider] });
    const who = await rig.newTenant();
    const source = await rig.make(who, { kind: 'shelf' });
    await rig.sync(who, source);
    let late = true;
    const sources = createSources({
      ...rig,
      providers: new Map([['shelf', provider]]),
      sealer: undefined,
      ids: systemIds,
      maxUploadBytes: 1_000_000,
      documents: {
        async remove(id) {
          await rig.documents.remove(id);
          if (!late || (await rig.documentsOf(who)).length > 0) return;
          late = false;
          items.set('c', { text: 'c' });
          await rig.sync(who, source);
          expect(await rig.documentsOf(who)).not.toEqual([]);
        },
      },
    });
    await rig.as(who, () => sources.remove(source.id));
    expect([late, await rig.documentsOf(who)]).toEqual([false, []]);
    expect(await rig.as(who, () => sources.get(source.id)).catch((error: unknown) => error)).toBeInstanceOf(AppError);
    expect(await rig.outstanding(who)).toBe(0);
  });
});

test.each([
  [{ kind: 'web', url: 'https://ada:secret@example.com/' }, '/url'],
  [{ kind: 'web', url: 'https://ada@example.com/' }, '/url'],
  [{ kind: 'web', url: 'https://////' }, '/url'],
  [{ kind: 'calendar', url: 'webcal://ada:secret@example.com/a.ics' }, '/url'],
  [{ kind: 'mail', mbox_url: 'http://ada:secret@example.com/a.mbox' }, '/mbox_url'],
  [
    { kind: 's3', bucket: 'abc', endpoint: 'https://a:secret@s3.example', access_key_id: 'a', secret_access_key: 'b' },
    '/endpoint',
  ],
])('an address that holds credentials, or is none, is refused: %o', async (settings, path) => {
  const rig = await startSources();
  const who = await rig.newTenant();
  const outcome = await rig.make(who, settings).catch((error: unknown) => error);
  expect(outcome).toMatchObject({ kind: 'invalid_request', errors: [{ path }] });
  expect((await rig.as(who, () => rig.sources.list({ limit: 10 }))).items).toEqual([]);
});
