/** Sources, each kind against a real server of its own, through the real acceptance and database. */
import { afterAll, describe, expect, test } from 'bun:test';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import hoodiecrow from 'hoodiecrow-imap';
import postgres from 'postgres';
import type { SourceProvider } from '../../src/contracts/index.ts';
import { createSourceHttp, type SourceHttp } from '../../src/ingest/sources/http.ts';
import { createSourceProviders } from '../../src/ingest/sources/providers.ts';
import { createReach } from '../../src/ingest/sources/reach.ts';
import { SourceError, SourceUnavailable } from '../../src/ingest/sources/source-error.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { startS3Stub } from '../support/documents-s3.ts';
import { closeAll, closers, html, startSite, startSources, UPLOAD_LIMIT } from '../support/source-rig.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

afterAll(closeAll);

describe('a site', () => {
  test('is read along its links and sitemap, as robots.txt allows, and asked for changes alone', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const site = startSite({
      '/robots.txt': { body: 'User-agent: *\nDisallow: /secret', type: 'text/plain' },
      '/': {
        body: html('Home', '/a', '/secret/x', 'https://elsewhere.example/', '/deep', '#top', 'mailto:x@y.z'),
        etag: '"1"',
      },
      '/a': { body: html('A', '/b', '/'), etag: '"1"' },
      '/b': { body: html('B'), etag: '"1"' },
      '/deep': { body: html('Deep', '/deeper'), etag: '"1"' },
      '/deeper': { body: html('Deeper', '/deepest'), etag: '"1"' },
      '/deepest': { body: html('Deepest'), etag: '"1"' },
      '/secret/x': { body: html('Secret') },
      '/mapped': { body: html('Mapped'), etag: '"1"' },
      '/notes.txt': { body: 'plain notes', type: 'text/plain', etag: '"1"' },
      '/photo.png': { body: 'no', type: 'image/png' },
      '/hidden': { body: '<head><meta name="robots" content="noindex, nofollow"></head><a href="/unseen">x</a>' },
      '/unseen': { body: html('Unseen') },
    });
    site.pages['/sitemap.xml'] = {
      type: 'application/xml',
      body: `<urlset><url><loc>${site.url}/mapped</loc></url><url><loc>${site.url}/notes.txt</loc></url><url><loc>${site.url}/photo.png</loc></url><url><loc>${site.url}/hidden</loc></url><url><loc>https://elsewhere.example/x</loc></url></urlset>`,
    };
    const source = await rig.make(who, { kind: 'web', url: `${site.url}/`, depth: 2, interval_minutes: 60 });
    expect(source).toMatchObject({ status: 'waiting', name: `${site.url}/` });
    const first = await rig.sync(who, source);
    expect(first).toMatchObject({
      status: 'idle',
      error: null,
      counts: { added: 7, updated: 0, unchanged: 0, removed: 0, failed: 0 },
    });
    expect(Date.parse(first.next_sync_at ?? '')).toBeGreaterThan(Date.now() + 55 * 60_000);
    const found = await rig.documentsOf(who);
    expect(found.map(({ source_item }) => source_item?.replace(site.url, ''))).toEqual([
      '/',
      '/a',
      '/b',
      '/deep',
      '/deeper',
      '/mapped',
      '/notes.txt',
    ]);
    expect(found[1]).toMatchObject({ title: 'A', source_type: 'web', source_id: source.id, media_type: 'text/html' });
    expect(site.asked.filter((line) => /secret|unseen|deepest/.test(line))).toEqual([]);

    // Nothing new: conditional requests, no document touched, and what lies behind unchanged pages is not taken for gone.
    site.asked.length = 0;
    const before = await rig.documentsOf(who);
    const second = await rig.sync(who, source);
    expect(second.counts).toEqual({ added: 0, updated: 0, unchanged: 7, removed: 0, failed: 0 });
    expect(site.asked.filter((line) => line.startsWith('304'))).toHaveLength(7);
    expect(await rig.documentsOf(who)).toEqual(before);

    // One changed, one gone, one fails: the rest goes on, and what failed keeps its document and what lies behind it.
    site.pages['/b'] = { body: html('B, changed'), etag: '"2"' };
    delete site.pages['/mapped'];
    site.pages['/deep'] = { status: 500 };
    const third = await rig.sync(who, source);
    expect(third).toMatchObject({
      status: 'idle',
      counts: { added: 0, updated: 1, unchanged: 4, removed: 1, failed: 1 },
    });
    expect(await rig.itemsOf(who, source, true)).toMatchObject([
      { key: `${site.url}/deep`, error: expect.stringContaining('500') },
    ]);
    const left = await rig.documentsOf(who);
    expect(left).toHaveLength(6);
    expect(left.map(({ id }) => id)).toEqual(before.filter(({ title }) => title !== 'Mapped').map(({ id }) => id));

    // Healed at the next one.
    site.pages['/deep'] = { body: html('Deep', '/deeper'), etag: '"1"' };
    expect((await rig.sync(who, source)).counts).toMatchObject({ failed: 0, removed: 0 });
    expect(await rig.itemsOf(who, source, true)).toEqual([]);

    await rig.as(who, () => rig.sources.remove(source.id));
    expect(await rig.documentsOf(who)).toEqual([]);
    expect(await rig.outstanding(who)).toBe(0);
  });

  test('that cannot be read loses nothing', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const site = startSite({ '/': { body: html('Home', '/a') }, '/a': { body: html('A') } });
    const source = await rig.make(who, { kind: 'web', url: `${site.url}/` });
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 2 });
    for (const broken of [{ '/': { status: 503 } }, { '/': { status: 404 } }, { '/robots.txt': { status: 500 } }]) {
      const healthy = { ...site.pages };
      Object.assign(site.pages, broken);
      const failed = await rig.sync(who, source);
      expect(failed).toMatchObject({ status: 'failed', error: expect.stringContaining('answered with the status') });
      expect(Date.parse(failed.next_sync_at ?? '')).toBeGreaterThan(Date.now());
      expect(await rig.documentsOf(who)).toHaveLength(2);
      delete site.pages['/robots.txt'];
      Object.assign(site.pages, healthy);
    }
    expect(await rig.sync(who, source)).toMatchObject({ status: 'idle', error: null });
  });

  test('cannot lead into our own network, by an address, a name, a redirect or a name that changes', async () => {
    const inside = startSite({ '/': { body: html('Inside') }, '/robots.txt': { status: 404 } });
    const port = new URL(inside.url).port;
    const names = new Map<string, string[]>([
      ['private.example', ['127.0.0.1']],
      ['mixed.example', ['93.184.216.34', '10.0.0.1']],
    ]);
    const asked: string[] = [];
    const rig = await startSources({
      allowPrivate: false,
      resolve: async (host) => {
        asked.push(host);
        return (names.get(host) ?? []).map((address) => ({ address, family: 4 }));
      },
    });
    const who = await rig.newTenant();
    for (const host of [
      '127.0.0.1',
      'localhost',
      '[::1]',
      '[::ffff:127.0.0.1]',
      '0x7f.1',
      '169.254.169.254',
      'private.example',
      'mixed.example',
    ]) {
      const source = await rig.make(who, { kind: 'web', url: `http://${host}:${port}/` });
      expect([host, (await rig.sync(who, source)).error]).toEqual([
        host,
        expect.stringMatching(/not on the public internet|cannot be resolved/),
      ]);
      await rig.as(who, () => rig.sources.remove(source.id));
    }
    expect(inside.asked).toEqual([]);
    expect(asked).toContain('mixed.example');
    const calendar = await rig.make(who, { kind: 'calendar', url: `http://127.0.0.1:${port}/` });
    expect((await rig.sync(who, calendar)).error).toContain('not on the public internet');
    const mail = await rig.make(who, { kind: 'mail', host: '127.0.0.1', port: Number(port), user: 'a', password: 'b' });
    expect((await rig.sync(who, mail)).error).toContain('not on the public internet');
    expect(inside.asked).toEqual([]);
  });

  test('is not followed to another site, nor around in circles, nor beyond what was asked for', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const other = startSite({ '/': { body: html('Other') } });
    const links = Array.from({ length: 30 }, (_, i) => `/p${i}`);
    const site = startSite({
      '/': { body: html('Home', '/away', '/loop', '/moved', ...links) },
      '/away': { status: 302, location: `${other.url}/` },
      '/loop': { status: 302, location: '/loop' },
      '/moved': { status: 301, location: '/target' },
      '/target': { body: html('Target') },
      ...Object.fromEntries(links.map((link) => [link, { body: html(link) }])),
    });
    const source = await rig.make(who, { kind: 'web', url: `${site.url}/`, max_pages: 10 });
    await rig.sync(who, source);
    expect(other.asked).toEqual([]);
    expect((await rig.documentsOf(who)).length).toBeLessThanOrEqual(10);
    expect(await rig.itemsOf(who, source, true)).toMatchObject([
      { key: `${site.url}/loop`, error: 'It redirects too often.' },
    ]);
    const all = await rig.make(who, { kind: 'web', url: `${site.url}/`, max_pages: 100, name: 'all' });
    await rig.sync(who, all);
    const titles = (await rig.documentsOf(who))
      .filter(({ source_id }) => source_id === all.id)
      .map(({ title }) => title);
    expect(titles).toContain('Target');
    expect(titles).not.toContain('Other');
  });

  test('may be large and hostile', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const bomb = Bun.gzipSync(new Uint8Array(50_000_000));
    const server = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch(request) {
        const { pathname } = new URL(request.url);
        if (pathname === '/bomb.txt')
          return new Response(bomb, { headers: { 'content-type': 'text/plain', 'content-encoding': 'gzip' } });
        if (pathname === '/')
          return new Response(html('Home', '/bomb.txt'), { headers: { 'content-type': 'text/html' } });
        return new Response('', { status: 404 });
      },
    });
    closers.push(() => server.stop(true));
    const source = await rig.make(who, { kind: 'web', url: `http://127.0.0.1:${server.port}/` });
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 1, failed: 1 });
    expect((await rig.itemsOf(who, source, true))[0]?.error).toContain(`larger than the ${UPLOAD_LIMIT} bytes`);
  });
});

describe('mail', () => {
  const message = (id: number, subject: string) =>
    `From: Ada <ada@example.com>\r\nTo: bob@example.com\r\nSubject: ${subject}\r\nMessage-ID: <${id}@example.com>\r\nDate: Fri, 02 Jan 2026 10:00:00 +0000\r\n\r\nBody of ${subject}.\r\n`;

  test('comes from mailboxes over IMAP, each message once, and goes when it is deleted there', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const storage = {
      INBOX: { messages: [{ raw: message(1, 'Tea') }, { raw: message(2, 'Coffee') }] },
      '': { folders: { Archive: { messages: [{ raw: message(3, '=?utf-8?B?5Y+j5L2c?=') }] } } },
    };
    const server = hoodiecrow({ plugins: ['ID', 'UIDPLUS'], users: { ada: { password: 'secret word' } }, storage });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    closers.push(() => new Promise<void>((resolve) => server.close(resolve)));
    const { port } = server.server.address() as { port: number };
    const access = {
      kind: 'mail',
      host: '127.0.0.1',
      port,
      secure: false,
      user: 'ada',
      mailboxes: ['INBOX', 'Archive'],
    };

    const wrong = await rig.make(who, { ...access, password: 'wrong' });
    expect(await rig.sync(who, wrong)).toMatchObject({
      status: 'failed',
      error: expect.stringMatching(/refuses|says/),
    });
    await rig.as(who, () => rig.sources.remove(wrong.id));

    const source = await rig.make(who, { ...access, password: 'secret word' });
    expect(source).toMatchObject({ has_credentials: true });
    expect(JSON.stringify(source)).not.toContain('secret word');
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 3, failed: 0 });
    const documents = await rig.documentsOf(who);
    expect(documents.map(({ title }) => title).toSorted()).toEqual(['Coffee', 'Tea', '口作']);
    expect(documents[0]).toMatchObject({ media_type: 'message/rfc822', metadata: { from: 'ada@example.com' } });
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 0, unchanged: 3, removed: 0 });

    server.appendMessage('INBOX', [], '02-Jan-2026 10:00:00 +0000', message(4, 'Water'));
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 1, unchanged: 3, removed: 0 });
    expect((await rig.documentsOf(who)).map(({ title }) => title)).toContain('Water');

    // Sealed: neither the words themselves nor anything that this tenant could open elsewhere.
    const admin = postgres(rig.db.adminUrl, { max: 1 });
    const [row] = await admin`select settings::text as settings, encode(secret, 'escape') as secret from sources`;
    await admin.end();
    expect(`${row?.['settings']}${row?.['secret']}`).not.toContain('secret word');
  });

  test('comes from an mbox file, sent or at an address', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    const mbox = (...messages: string[]) =>
      messages.map((one) => `From ada@example.com Fri Jan  2 10:00:00 2026\n${one.replaceAll('\r', '')}\n`).join('');
    const site = startSite({
      '/all.mbox': { body: mbox(message(1, 'One'), message(2, 'Two')), type: 'application/mbox', etag: '"1"' },
    });
    const remote = await rig.make(who, { kind: 'mail', mbox_url: `${site.url}/all.mbox` });
    expect((await rig.sync(who, remote)).counts).toMatchObject({ added: 2, failed: 0 });
    expect((await rig.sync(who, remote)).counts).toMatchObject({ unchanged: 2, removed: 0 });
    expect(site.asked).toEqual(['200 /all.mbox', '304 /all.mbox']);
    site.pages['/all.mbox'] = { body: mbox(message(2, 'Two'), message(3, 'Three')), etag: '"2"' };
    expect((await rig.sync(who, remote)).counts).toMatchObject({ added: 1, unchanged: 1, removed: 1 });

    const local = await rig.make(who, { kind: 'mail', mbox_file: true });
    expect((await rig.sync(who, local)).error).toBe('No file was sent to this source yet.');
    const { signal } = new AbortController();
    const file = new Blob([mbox(message(7, 'Seven'))]).stream();
    await rig.as(who, () => rig.sources.putFile(local.id, { body: file, signal }));
    expect((await rig.sync(who, local)).counts).toMatchObject({ added: 1 });
    await expect(rig.as(who, () => rig.sources.putFile(remote.id, { body: null, signal }))).rejects.toMatchObject({
      kind: 'conflict',
    });
    await expect(rig.make(who, { kind: 'mail', mbox_file: true, host: 'x.example' })).rejects.toMatchObject({
      kind: 'invalid_request',
    });
  });
});

test('a calendar becomes a text for each event, which changes and goes with it', async () => {
  const rig = await startSources();
  const who = await rig.newTenant();
  const event = (uid: string, summary: string) =>
    `BEGIN:VEVENT\r\nUID:${uid}\r\nDTSTART;TZID=Europe/Berlin:20260102T100000\r\nDTEND;TZID=Europe/Berlin:20260102T110000\r\nSUMMARY:${summary}\r\nLOCATION:Room 1\r\nATTENDEE;CN=Bob:mailto:bob@example.com\r\nDESCRIPTION:Talk\\nabout it\r\nEND:VEVENT\r\n`;
  const calendar = (...events: string[]) => `BEGIN:VCALENDAR\r\nVERSION:2.0\r\n${events.join('')}END:VCALENDAR\r\n`;
  const site = startSite({ '/c.ics': { body: calendar(event('1', 'Stand-up'), event('2', 'Review')), etag: '"1"' } });
  const source = await rig.make(who, { kind: 'calendar', url: `${site.url}/c.ics` });
  expect((await rig.sync(who, source)).counts).toMatchObject({ added: 2, failed: 0 });
  const [standUp] = await rig.documentsOf(who);
  expect(standUp).toMatchObject({ title: 'Stand-up', filename: 'Stand-up.md' });
  const text = await rig.textOf(who, standUp?.id ?? '');
  for (const part of [
    '# Stand-up',
    '2026-01-02 10:00',
    'Europe/Berlin',
    'Room 1',
    'Bob <bob@example.com>',
    'Talk\nabout it',
  ]) {
    expect(text).toContain(part);
  }
  expect((await rig.sync(who, source)).counts).toMatchObject({ unchanged: 2, removed: 0 });
  expect(site.asked.at(-1)).toBe('304 /c.ics');
  site.pages['/c.ics'] = { body: calendar(event('1', 'Sit-down')), etag: '"2"' };
  expect((await rig.sync(who, source)).counts).toMatchObject({ updated: 1, removed: 1 });
  expect(await rig.documentsOf(who)).toMatchObject([{ id: standUp?.id }]);
  site.pages['/c.ics'] = { body: '<html>Sign in</html>', etag: '"3"' };
  expect(await rig.sync(who, source)).toMatchObject({ status: 'failed', error: 'This is no calendar.' });
  expect(await rig.documentsOf(who)).toHaveLength(1);
});

test('a bucket is listed page by page, and its objects are fetched when their ETag changes', async () => {
  const rig = await startSources();
  const who = await rig.newTenant();
  const s3 = startS3Stub();
  closers.push(() => s3.stop());
  const put = (key: string, text: string) => void s3.objects.set(key, new TextEncoder().encode(text));
  put('docs/a.txt', 'a');
  put('docs/b & ü.txt', 'b');
  put('docs/c.txt', 'c');
  put('docs/empty/', '');
  put('other/d.txt', 'd');
  const access = {
    kind: 's3',
    bucket: s3.bucket,
    prefix: 'docs/',
    endpoint: s3.endpoint,
    access_key_id: s3.accessKeyId,
  };
  const source = await rig.make(who, { ...access, secret_access_key: s3.secretAccessKey });
  expect(source.settings).not.toHaveProperty('secret_access_key');
  expect(await rig.sync(who, source)).toMatchObject({ error: null, counts: { added: 3, failed: 0 } });
  const documents = await rig.documentsOf(who);
  expect(documents.map(({ source_item, filename }) => [source_item, filename])).toEqual([
    ['docs/a.txt', 'a.txt'],
    ['docs/b & ü.txt', 'b & ü.txt'],
    ['docs/c.txt', 'c.txt'],
  ]);
  s3.log.length = 0;
  expect((await rig.sync(who, source)).counts).toMatchObject({ unchanged: 3 });
  expect(s3.log).toEqual(['GET', 'GET']);
  put('docs/a.txt', 'a, changed');
  s3.objects.delete('docs/c.txt');
  expect((await rig.sync(who, source)).counts).toMatchObject({ updated: 1, unchanged: 1, removed: 1 });
  expect(await rig.textOf(who, documents[0]?.id ?? '')).toBe('a, changed');
  s3.fail(503);
  expect(await rig.sync(who, source)).toMatchObject({ status: 'failed', error: expect.stringContaining('503') });
  expect(await rig.documentsOf(who)).toHaveLength(2);
});

describe('a folder', () => {
  test('is read where the operator allows it, for whom, and nowhere else', async () => {
    const folder = await temporaryFolder();
    closers.push(() => folder.remove());
    const at = (...parts: string[]) => join(folder.path, ...parts);
    await mkdir(at('open', 'sub'), { recursive: true });
    await mkdir(at('closed'));
    await writeFile(at('closed', 'secret.txt'), 'secret');
    await writeFile(at('open', 'a.txt'), 'a');
    await writeFile(at('open', 'sub', 'b.txt'), 'b');
    await writeFile(at('open', '.hidden'), 'h');
    await symlink(at('closed', 'secret.txt'), at('open', 'link.txt'));
    await symlink(at('closed'), at('open', 'linked'));
    const rig = await startSources({ folders: [{ path: at('open'), tenantId: null }] });
    const who = await rig.newTenant();
    for (const path of [at('closed'), at('open', 'linked'), at('open', '..', 'closed'), '/etc', at('nothing')]) {
      await expect(rig.make(who, { kind: 'folder', path })).rejects.toThrow('does not allow');
    }
    await expect(
      rig.as(who, () => rig.sources.create({ kind: 'folder', path: at('open') }, 'member')),
    ).rejects.toMatchObject({ kind: 'forbidden' });
    const source = await rig.make(who, { kind: 'folder', path: at('open') });
    expect((await rig.sync(who, source)).counts).toMatchObject({ added: 2, failed: 0 });
    expect((await rig.documentsOf(who)).map(({ source_item }) => source_item)).toEqual(['a.txt', 'sub/b.txt']);
    expect((await rig.sync(who, source)).counts).toMatchObject({ unchanged: 2 });
    await writeFile(at('open', 'a.txt'), 'a, longer');
    await rm(at('open', 'sub'), { recursive: true });
    expect((await rig.sync(who, source)).counts).toMatchObject({ updated: 1, removed: 1 });

    const none = await startSources();
    await expect(none.make(await none.newTenant(), { kind: 'folder', path: at('open') })).rejects.toThrow(
      'does not allow',
    );
    const owner = await none.newTenant();
    const theirs = await startSources({ folders: [{ path: at('open'), tenantId: owner.tenantId }] });
    await expect(theirs.make(await theirs.newTenant(), { kind: 'folder', path: at('open') })).rejects.toThrow('allow');
  });
});

/** A source in memory: what a test puts there is what there is. */
function shelf() {
  const items = new Map<string, string>();
  const state: { beforeFetch: (key: string) => Promise<void> } = { beforeFetch: async () => undefined };
  const fetched: string[] = [];
  const provider: SourceProvider = {
    kind: 'shelf',
    settings: createSourceProviders({ allowPrivate: true, clock: systemClock, folders: [] }).get('calendar')
      ?.settings as never,
    secrets: [],
    async open() {
      return {
        async *list() {
          for (const [key, text] of items) yield { key, fingerprint: text };
        },
        async fetch({ key, fingerprint }) {
          await state.beforeFetch(key);
          fetched.push(key);
          const bytes = new TextEncoder().encode(items.get(key) ?? '');
          return { body: new Blob([bytes]).stream(), filename: `${key}.txt`, fingerprint };
        },
      };
    },
  };
  return { items, state, fetched, provider };
}

test('the provider that the README shows works as printed, in 40 lines', async () => {
  const folder = fileURLToPath(new URL('../../src/ingest/sources/', import.meta.url));
  const readme = await Bun.file(join(folder, 'README.md')).text();
  const code = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
  expect(code.trim().split('\n').length).toBeLessThanOrEqual(40);
  // Beside the packages that it imports, with our own files where they are.
  const place = join(folder, '../../../node_modules/.cache', `feed-${crypto.randomUUID()}.ts`);
  await Bun.write(
    place,
    code.replace(/'(\.{1,2}\/[^']+)'/g, (_, path: string) => `'${join(folder, path)}'`),
  );
  closers.push(() => rm(place));
  const { createFeedProvider } = (await import(place)) as {
    createFeedProvider(options: { http: SourceHttp }): SourceProvider;
  };
  const http = createSourceHttp({ reach: createReach({ allowPrivate: true }) });
  const rig = await startSources({ more: [createFeedProvider({ http })] });
  const who = await rig.newTenant();
  const feed = (...items: { id: string; title: string; content_text: string }[]) => JSON.stringify({ items });
  const [one, two] = [
    { id: '1', title: 'One', content_text: 'first' },
    { id: '2', title: 'Two', content_text: 'second' },
  ];
  const site = startSite({ '/feed.json': { body: feed(one, two), type: 'application/feed+json' } });
  const source = await rig.make(who, { kind: 'feed', url: `${site.url}/feed.json`, token: 'secret token' });
  expect(JSON.stringify(source)).not.toContain('secret token');
  expect((await rig.sync(who, source)).counts).toMatchObject({ added: 2, failed: 0 });
  site.pages['/feed.json'] = { body: feed({ ...one, content_text: 'changed' }) };
  expect((await rig.sync(who, source)).counts).toMatchObject({ updated: 1, removed: 1 });
  const [left] = await rig.documentsOf(who);
  expect(await rig.textOf(who, left?.id ?? '')).toBe('changed');
});

describe('a sync', () => {
  test('that dies goes on elsewhere where it was, and what was thought dead adds nothing', async () => {
    const { items, state, fetched, provider } = shelf();
    for (let i = 0; i < 6; i++) items.set(`item ${i}`, `text ${i}`);
    const rig = await startSources({ more: [provider] });
    const who = await rig.newTenant();
    const source = await rig.make(who, { kind: 'shelf' });
    const [frozen, thaw] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    state.beforeFetch = async (key) => {
      if (key !== 'item 3') return;
      state.beforeFetch = async () => undefined;
      frozen.resolve();
      await thaw.promise;
    };
    const zombie = rig.syncsWith().sync();
    await frozen.promise;
    // As when its process stands still: nobody else may begin until the lease ends.
    expect(await rig.syncsWith().sync()).toBe(0);
    await rig.as(who, () =>
      rig.database.tenant((sql) => sql`update sources set leased_until = now() - interval '1 s'`),
    );
    expect(await rig.syncsWith().sync()).toBe(1);
    expect(fetched).toEqual(['item 0', 'item 1', 'item 2', 'item 3', 'item 4', 'item 5']);
    const after = await rig.as(who, () => rig.sources.get(source.id));
    expect(after.counts).toMatchObject({ added: 3, unchanged: 3 });
    items.set('item 3', 'of the zombie');
    thaw.resolve();
    await zombie;
    expect(await rig.as(who, () => rig.sources.get(source.id))).toEqual(after);
    const documents = await rig.documentsOf(who);
    expect(documents).toHaveLength(6);
    expect(await rig.textOf(who, documents[3]?.id ?? '')).toBe('text 3');
  });

  test('that is stopped is handed back at once', async () => {
    const { items, state, provider } = shelf();
    items.set('a', 'a').set('b', 'b');
    const rig = await startSources({ more: [provider] });
    const who = await rig.newTenant();
    const source = await rig.make(who, { kind: 'shelf' });
    const began = Promise.withResolvers<void>();
    const stopping = rig.syncsWith({ everyMs: 10 });
    const stopped = Promise.withResolvers<void>();
    state.beforeFetch = async (key) => {
      if (key !== 'b') return;
      began.resolve();
      await stopped.promise;
    };
    await stopping.start();
    await began.promise;
    const stop = stopping.stop();
    stopped.resolve();
    await stop;
    state.beforeFetch = async () => undefined;
    await rig.syncsWith().sync();
    expect(await rig.as(who, () => rig.sources.get(source.id))).toMatchObject({ status: 'idle', error: null });
    expect(await rig.documentsOf(who)).toHaveLength(2);
  });

  test('waits for room in the queue rather than losing items', async () => {
    const { items, provider } = shelf();
    items.set('a', 'a').set('b', 'b');
    const rig = await startSources({ more: [provider], queueMaxDepth: 1 });
    const who = await rig.newTenant();
    const source = await rig.make(who, { kind: 'shelf' });
    // Room comes while it waits: whoever works takes the document that was accepted first.
    const clock = {
      ...systemClock,
      async sleep(ms: number, signal?: AbortSignal) {
        const { items: tasks } = await rig.as(who, () => rig.tasks.list({ limit: 1, status: 'queued' }));
        if (ms < 10_000 && tasks[0]) await rig.deliver(who, 'ingest', tasks[0].id);
        else await systemClock.sleep(ms, signal);
      },
    };
    await rig.syncsWith({ clock, leaseMs: 60_000 }).sync();
    expect((await rig.as(who, () => rig.sources.get(source.id))).counts).toMatchObject({ added: 2, failed: 0 });
  });

  test('is private where its source is, and nobody else sees or ends it', async () => {
    const { items, provider } = shelf();
    items.set('a', 'private words');
    const rig = await startSources({ more: [provider] });
    const alice = await rig.newTenant();
    const bob = await rig.addUser(alice.tenantId);
    const stranger = await rig.newTenant();
    const source = await rig.make(alice, { kind: 'shelf', visibility: 'private' });
    await rig.sync(alice, source);
    expect(await rig.documentsOf(alice)).toMatchObject([{ visibility: 'private' }]);
    for (const other of [bob, stranger]) {
      expect(await rig.documentsOf(other)).toEqual([]);
      for (const ask of [
        (): Promise<unknown> => rig.sources.get(source.id),
        () => rig.sources.sync(source.id),
        () => rig.sources.items(source.id, { limit: 5 }),
        () => rig.sources.remove(source.id),
      ]) {
        await expect(rig.as(other, ask)).rejects.toMatchObject({ kind: 'not_found' });
      }
    }
    expect((await rig.as(bob, () => rig.sources.list({ limit: 10 }))).items).toEqual([]);
  });

  test('that is ended by deleting its source leaves nothing', async () => {
    const { items, state, provider } = shelf();
    items.set('a', 'a').set('b', 'b').set('c', 'c');
    const rig = await startSources({ more: [provider] });
    const who = await rig.newTenant();
    const source = await rig.make(who, { kind: 'shelf' });
    const [began, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    state.beforeFetch = async (key) => {
      if (key !== 'b') return;
      began.resolve();
      await go.promise;
    };
    const running = rig.syncsWith().sync();
    await began.promise;
    await rig.as(who, () => rig.sources.remove(source.id));
    go.resolve();
    await running;
    expect(await rig.documentsOf(who)).toEqual([]);
    expect(await rig.outstanding(who)).toBe(0);
    await expect(rig.as(who, () => rig.sources.get(source.id))).rejects.toMatchObject({ kind: 'not_found' });
  });

  test('that fails as a whole removes nothing and says why; one that nobody asked for gives up in the end', async () => {
    const { items, provider } = shelf();
    items.set('a', 'a');
    let broken = false;
    const { open } = provider;
    const fragile: SourceProvider = {
      ...provider,
      async open(run) {
        const session = await open(run);
        return {
          ...session,
          async *list() {
            yield* session.list();
            if (broken) throw new SourceError('The list broke off.');
          },
        };
      },
    };
    const rig = await startSources({ more: [fragile] });
    const who = await rig.newTenant();
    const source = await rig.make(who, { kind: 'shelf' });
    await rig.sync(who, source);
    broken = true;
    items.clear();
    expect(await rig.sync(who, source)).toMatchObject({ status: 'failed', error: 'The list broke off.' });
    expect(await rig.documentsOf(who)).toHaveLength(1);
    for (let tries = 0; tries < 4; tries++) {
      await rig.as(who, () => rig.database.tenant((sql) => sql`update sources set next_sync_at = now()`));
      await rig.syncsWith().sync();
    }
    expect(await rig.as(who, () => rig.sources.get(source.id))).toMatchObject({ status: 'failed', next_sync_at: null });
    expect(new SourceUnavailable('x')).toBeInstanceOf(SourceError);
  });

  test('takes no settings that do not fit', async () => {
    const rig = await startSources();
    const who = await rig.newTenant();
    for (const settings of [
      { kind: 'gopher' },
      { kind: 'web' },
      { kind: 'web', url: 'ftp://x.example/' },
      { kind: 'web', url: 'https://x.example/', depth: 99 },
      { kind: 'web', url: 'https://x.example/', colour: 'red' },
      { kind: 'calendar' },
      { kind: 's3', bucket: 'UPPER', access_key_id: 'x', secret_access_key: 'y' },
    ]) {
      await expect(rig.make(who, settings)).rejects.toMatchObject({ kind: 'invalid_request' });
    }
  });
});
