/** Providers of sources against real servers on this machine that behave as sites and calendars do. */

import { afterAll, describe, expect, test } from 'bun:test';
import { once } from 'node:events';
import type { SourceContent, SourceProvider, SourceRun } from '../../../src/contracts/index.ts';
import { createCalendarProvider } from '../../../src/ingest/sources/calendar.ts';
import { bytesOf, createSourceHttp } from '../../../src/ingest/sources/http.ts';
import { openMbox } from '../../../src/ingest/sources/mail-mbox.ts';
import { createReach } from '../../../src/ingest/sources/reach.ts';
import { createWebProvider } from '../../../src/ingest/sources/web.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { encodeAs } from '../../support/documents-encodings.ts';

const servers: ReturnType<typeof Bun.serve>[] = [];
afterAll(() => Promise.all(servers.map((server) => server.stop(true))));

/** A site of such pages; everything else is 404. What was asked for stands in `asked`. */
function site(pages: Readonly<Record<string, () => Response>>): { url: string; asked: string[] } {
  const asked: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch({ url }) {
      const { pathname, search } = new URL(url);
      asked.push(pathname + search);
      return pages[pathname + search]?.() ?? new Response('', { status: 404 });
    },
  });
  servers.push(server);
  return { url: `http://127.0.0.1:${server.port}`, asked };
}

const http = createSourceHttp({ reach: createReach({ allowPrivate: true }), timeoutMs: 15_000 });
const page = (html: string, headers: Record<string, string> = {}) =>
  new Response(html, { headers: { 'content-type': 'text/html; charset=utf-8', ...headers } });

interface Taken {
  title: string | undefined;
  body: Buffer;
}

/** All that a provider lists, by key: what was fetched, or the error's message. */
async function sync(
  provider: SourceProvider,
  settings: Record<string, unknown>,
  file?: string,
): Promise<Map<string, Taken | 'gone' | 'unchanged' | { error: string }>> {
  const run: SourceRun = {
    settings,
    tenantId: 'tenant',
    cursor: null,
    maxBytes: 10_000_000,
    known: () => undefined,
    keys: () => [],
    file: async () => new Blob([file ?? '']).stream() as unknown as AsyncIterable<Uint8Array>,
    signal: AbortSignal.timeout(60_000),
  };
  const session = await provider.open(run);
  const items = new Map<string, Taken | 'gone' | 'unchanged' | { error: string }>();
  for await (const item of session.list()) {
    const got = await session.fetch(item).catch((error: Error) => ({ error: error.message }));
    items.set(item.key, typeof got === 'object' && 'body' in got ? await taken(got) : got);
  }
  await session.close?.();
  return items;
}

async function taken({ title, body }: SourceContent): Promise<Taken> {
  return { title, body: Buffer.concat(await Array.fromAsync(body)) };
}

describe('a site', () => {
  const web = createWebProvider({ http, clock: systemClock });

  test('is followed by its addresses as they are meant, by refreshes too, and keeps out what its headers keep out', async () => {
    const { url, asked } = site({
      '/': () =>
        page(
          '<title>A &amp; B &#8211; caf&eacute;</title><a href="/list?a=1&amp;b=2">x</a><a href="/moved">y</a><a href="/private">z</a>',
        ),
      '/list?a=1&b=2': () => page('<p>a list</p>'),
      '/moved': () => page('<meta http-equiv="Refresh" content="0; URL=\'/here\'"><p>moved</p>'),
      '/here': () => page('<p>here</p>'),
      '/private': () => page('<p>not for lists</p>', { 'x-robots-tag': 'noindex' }),
    });
    const items = await sync(web, { url: `${url}/`, sitemap: false });
    expect(asked).toEqual(['/robots.txt', '/', '/list?a=1&b=2', '/moved', '/private', '/here']);
    expect(items.get(`${url}/`)).toMatchObject({ title: 'A & B – café' });
    expect(items.get(`${url}/private`)).toBe('gone');
  });

  test('may be written in what its server alone says, and is titled and kept readable', async () => {
    const chinese = '<title>产品手册</title><p>价格是一百元。</p>';
    const { url } = site({
      '/': () =>
        new Response(Buffer.from(encodeAs('gb18030', chinese)), {
          headers: { 'content-type': 'text/html; charset=GBK' },
        }),
      '/lies': () => page('', { 'content-type': 'text/html' }),
    });
    expect(await sync(web, { url: `${url}/`, sitemap: false })).toMatchObject(
      new Map([[`${url}/`, { title: '产品手册' }]]),
    );
    // Half of it could be anything: what the server says is kept with it.
    const greek = site({
      '/': () =>
        new Response(Buffer.from(encodeAs('iso-8859-7', '<title>ok</title><p>άλφα</p>')), {
          headers: { 'content-type': 'text/html; charset="iso-8859-7"' },
        }),
    });
    const item = (await sync(web, { url: `${greek.url}/`, sitemap: false })).get(`${greek.url}/`) as Taken;
    expect(item.body.toString()).toContain('άλφα');
  });

  test('that moves to https or to www is the same site, another one is named', async () => {
    const asked: string[] = [];
    const pages: Record<string, () => Response> = {};
    const named = createWebProvider({
      clock: systemClock,
      http: {
        async get(request) {
          asked.push(request.url);
          const { onRedirect } = request;
          let url = new URL(request.url);
          if (url.href === 'http://example.com/') {
            url = new URL('https://www.example.com/start');
            onRedirect?.(url);
          }
          if (url.href === 'http://other.example/') onRedirect?.(new URL('https://elsewhere.example/'));
          const answer = pages[url.href]?.() ?? new Response('', { status: 404 });
          return {
            url,
            status: answer.status,
            header: (name) => answer.headers.get(name) ?? undefined,
            body: () => (answer.body ?? new Blob([]).stream()) as unknown as AsyncIterable<Uint8Array>,
            discard: () => undefined,
          };
        },
      },
    });
    pages['https://www.example.com/start'] = () => page('<p>start</p><a href="/secret">s</a>');
    pages['http://example.com/robots.txt'] = () => new Response('User-agent: *\nDisallow: /secret');
    const items = await sync(named, { url: 'http://example.com/', sitemap: false });
    expect([...items.keys()]).toEqual(['http://example.com/', 'https://www.example.com/start']);
    expect(asked).not.toContain('https://www.example.com/secret');
    const other = await sync(named, { url: 'http://other.example/', sitemap: false });
    expect(other.get('http://other.example/')).toMatchObject({
      error: expect.stringContaining('https://elsewhere.example/'),
    });
  });
});

describe('an answer', () => {
  test('that comes byte by byte is given up, and one that waits for us is not', async () => {
    const { url } = site({
      '/slow': () => new Response('x'),
      '/long': () => new Response('x'.repeat(3_000_000)),
    });
    const signal = AbortSignal.timeout(60_000);
    const reach = createReach({ allowPrivate: true });
    const strict = createSourceHttp({ reach, patienceMs: 0 });
    const slow = await strict.get({ url: `${url}/slow`, signal });
    await expect(bytesOf(slow, 10_000_000)).rejects.toThrow('too slowly');
    const hasty = createSourceHttp({ reach, timeoutMs: 300 });
    const long = await hasty.get({ url: `${url}/long`, signal });
    let size = 0;
    for await (const chunk of long.body(10_000_000)) {
      // Longer than the sender may pause.
      if (size === 0) await once(AbortSignal.timeout(600), 'abort');
      size += chunk.length;
    }
    expect(size).toBe(3_000_000);
  });
});

describe('a calendar', () => {
  const calendar = createCalendarProvider({ http });
  const event = (...lines: string[]) => ['BEGIN:VEVENT', ...lines, 'END:VEVENT'].join('\r\n');
  const ics = (...events: string[]) => ['BEGIN:VCALENDAR', 'VERSION:2.0', ...events, 'END:VCALENDAR', ''].join('\r\n');
  const read = async (file: string) => {
    const items = await sync(calendar, { file: true }, file);
    return [...items].map(([key, item]) => [key, typeof item === 'object' && 'body' in item ? `${item.body}` : item]);
  };

  test('has its good events where others are broken, each by a name that stays', async () => {
    const good = event('UID:good', 'DTSTART:20260105T100000Z', 'SUMMARY:Good');
    const nameless = event('DTSTART:20260106T100000Z', 'SUMMARY:Nameless');
    const source = ics(
      good,
      event('UID:timeless', 'SUMMARY:Timeless'),
      event('UID:never', 'DTSTART:someday', 'SUMMARY:Never'),
      nameless,
    );
    const found = await read(source);
    expect(found).toContainEqual(['good', '# Good\n\n- When: 2026-01-05 10:00 (Etc/UTC)\n']);
    expect(found).toContainEqual(['timeless', '# Timeless\n\n']);
    expect(found).toHaveLength(4);
    expect(await read(source)).toEqual(found);
  });

  test('says which event it cannot read, and reads the rest', async () => {
    const zone =
      'BEGIN:VTIMEZONE\r\nTZID:Own\r\nBEGIN:STANDARD\r\nDTSTART:20200101T000000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE';
    const found = new Map(
      (await read(
        ics(
          zone,
          event('UID:broken', 'DTSTART:20260105T100000Z', 'RRULE:FREQ=WHAT', 'SUMMARY:Broken'),
          event('UID:series', 'DTSTART:20260105T100000Z', 'RRULE:FREQ=WEEKLY', 'SUMMARY:Series'),
          event('UID:series', 'RECURRENCE-ID:20260112T100000Z', 'DTSTART:20260112T120000Z', 'SUMMARY:Moved'),
        ),
      )) as [string, unknown][],
    );
    expect(found.get('broken')).toEqual({ error: expect.stringContaining('cannot be read') });
    expect(`${found.get('series')}`).toContain('- Repeats: every week');
    expect([...found.values()].map(String).filter((text) => text.startsWith('# Moved'))).toHaveLength(1);
  });
});

test('a mailbox holds no mail that is larger than a document may be', async () => {
  async function* box() {
    yield Buffer.from('From a@x Mon Jan  5 10:00:00 2026\nMessage-ID: <big>\n\n');
    for (let i = 0; i < 200; i++) yield Buffer.from(`${'x'.repeat(100_000)}${i % 3 ? '' : '\n'}`);
    yield Buffer.from(
      '\nFrom now on it goes on\nFrom b@x Mon Jan  5 10:00:01 2026\nMessage-ID: <small>\n\nFrom 2010\n',
    );
  }
  const session = openMbox(box(), 100_000);
  const found: unknown[] = [];
  for await (const item of session.list()) {
    const got = await session.fetch(item).catch((error: Error) => error.message);
    found.push([item.key, typeof got === 'object' ? `${(await taken(got)).body}` : got]);
  }
  expect(found).toEqual([
    ['<big>', expect.stringContaining('larger than')],
    ['<small>', 'Message-ID: <small>\n\nFrom 2010'],
  ]);
});
