/** Resumable uploads over HTTP, on a real database, by the public client of the protocol and by requests made by hand. */
import { afterAll, describe, expect, test } from 'bun:test';
import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as tus from 'tus-js-client';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createResumableUploads, type ResumableUploadsOptions } from '../../src/services/tus.ts';
import { createUploadSweep } from '../../src/services/tus-sweep.ts';
import { createHttpApp, principal, SECRET } from '../support/http-app.ts';
import { createRig, type Rig, type RigOptions } from '../support/rig.ts';

type Who = { tenantId: string; userId: string };

const closers: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
});

let shared: Promise<Rig> | undefined;

/** One for all tests that want nothing special: each has tenants of its own. */
async function start(options?: RigOptions): Promise<Rig> {
  const made = options ? createRig(options) : (shared ?? createRig());
  if (!options && shared) return shared;
  if (!options) shared = made;
  const rig = await made;
  closers.push(rig.close);
  return rig;
}

/** A server of its own on the rig's database and blobs: two of them are two nodes. */
function startNode(rig: Rig, options: Partial<ResumableUploadsOptions> = {}) {
  const { database, blobs, uploads } = rig;
  const resumable = createResumableUploads({
    database,
    blobs,
    uploads,
    clock: systemClock,
    ids: systemIds,
    maxUploadBytes: 10_000_000,
    segmentBytes: 64 * 1024,
    ...options,
  });
  const { app } = createHttpApp({ resumable }, { maxUploadBytes: 10_000_000 });
  app.listen({ port: 0, hostname: '127.0.0.1' });
  closers.push(async () => app.stop(true));
  return { resumable, endpoint: `http://127.0.0.1:${app.server?.port}/api/v1/uploads/tus` };
}

const tokens = createAccessTokens({ secrets: [SECRET], clock: systemClock });
async function credentials(who: Who): Promise<Record<string, string>> {
  return { authorization: `Bearer ${await tokens.sign({ ...principal, ...who }, 900)}` };
}

/** Text that no compression or luck makes equal to another's. */
const textOf = (bytes: number) => randomBytes(bytes / 2).toString('hex');
const encoded = (metadata: Record<string, string>) =>
  Object.entries(metadata)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`)
    .join(',');

/** The blobs that are left of uploads. */
async function partsOf(rig: Rig, { tenantId }: Who): Promise<string[]> {
  const names = await readdir(join(rig.folder.path, 'blobs', 'uploads', tenantId), {
    recursive: true,
    withFileTypes: true,
  }).catch(() => []);
  return names.filter((entry) => entry.isFile()).map(({ name }) => name);
}

async function by(who: Who, endpoint: string) {
  const headers = { ...(await credentials(who)), 'tus-resumable': '1.0.0' };
  return {
    async create(size: number, metadata: Record<string, string> = { filename: 'notes.txt' }, more: RequestInit = {}) {
      const answer = await fetch(endpoint, {
        method: 'POST',
        ...more,
        headers: {
          ...headers,
          'upload-length': String(size),
          'upload-metadata': encoded(metadata),
          ...(more.headers as Record<string, string>),
        },
      });
      return { answer, url: new URL(answer.headers.get('location') ?? '', endpoint).href };
    },
    send: (url: string, offset: number, body: BodyInit, more: Record<string, string> = {}, method = 'PATCH') =>
      fetch(url, {
        method,
        body,
        headers: {
          ...headers,
          'content-type': 'application/offset+octet-stream',
          'upload-offset': String(offset),
          ...more,
        },
      }),
    head: (url: string) => fetch(url, { method: 'HEAD', headers }),
    async read(url: string) {
      const answer = await fetch(url, { headers });
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
    },
    remove: (url: string) => fetch(url, { method: 'DELETE', headers }),
  };
}

/** Uploads by the public client; resolves with the headers of its last answer, or rejects with its error. */
async function uploadByClient(who: Who, endpoint: string, bytes: Buffer, options: Partial<tus.UploadOptions> = {}) {
  const done = Promise.withResolvers<{ upload: tus.Upload; last: tus.HttpResponse | undefined }>();
  let last: tus.HttpResponse | undefined;
  const upload = new tus.Upload(bytes, {
    endpoint,
    headers: await credentials(who),
    metadata: { filename: 'notes.txt' },
    retryDelays: [0, 50, 200, 500, 1_000, 2_000],
    ...options,
    onAfterResponse: (_request, response) => {
      last = response;
    },
    onSuccess: () => done.resolve({ upload, last }),
    onError: (error) => done.reject(error),
  });
  upload.start();
  return done.promise;
}

const contentOf = (rig: Rig, who: Who, documentId: string) =>
  rig.as(who, async () => new Response((await rig.documents.content(documentId)).stream).text());

describe('the public tus client', () => {
  test('uploads a file, which becomes searchable as any other', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const text = `The lighthouse keeper drinks tea.\n${textOf(300_000)}`;
    const metadata = { filename: '手册 1.txt', title: 'Lighthouses', priority: '9', metadata: '{"year":1903}' };
    const { last } = await uploadByClient(who, endpoint, Buffer.from(text), { metadata });
    const [documentId, taskId] = [
      last?.getHeader('DreamHub-Document-Id') ?? '',
      last?.getHeader('DreamHub-Task-Id') ?? '',
    ];
    expect(last?.getHeader('DreamHub-Duplicate')).toBe('false');
    expect(await rig.deliver(who, 'ingest', taskId)).toEqual({ type: 'done' });
    const document = await rig.as(who, () => rig.documents.get(documentId));
    expect(document).toMatchObject({
      title: 'Lighthouses',
      filename: '手册 1.txt',
      metadata: { year: 1903 },
      size: text.length,
      sha256: createHash('sha256').update(text).digest('hex'),
    });
    expect(await rig.as(who, () => rig.tasks.get(taskId))).toMatchObject({ priority: 9, status: 'succeeded' });
    expect(await contentOf(rig, who, documentId)).toBe(text);
    expect(await partsOf(rig, who)).toEqual([]);
  });

  test('goes on where a cut line stopped it, on another node too', async () => {
    const rig = await start();
    const [first, second] = [startNode(rig), startNode(rig)];
    const who = await rig.newTenant();
    const bytes = Buffer.from(textOf(2_000_000));
    // What leads to the nodes: the line is cut in the middle of the body, and leads elsewhere from then on.
    const seen: string[] = [];
    let target = first.endpoint;
    let cut = true;
    const proxy = Bun.listen<{
      upstream: Awaited<ReturnType<typeof Bun.connect>> | undefined;
      waiting: Buffer[];
      bytes: number;
    }>({
      hostname: '127.0.0.1',
      port: 0,
      socket: {
        open(socket) {
          socket.data = { upstream: undefined, waiting: [], bytes: 0 };
          void Bun.connect({
            hostname: '127.0.0.1',
            port: Number(new URL(target).port),
            socket: {
              data: (_up, data) => void socket.write(data),
              close: () => void socket.end(),
              open(up) {
                socket.data.upstream = up;
                for (const data of socket.data.waiting) up.write(data);
              },
            },
          });
        },
        data(socket, data) {
          const { upstream, waiting } = socket.data;
          const method = /^(PATCH|HEAD|POST) /.exec(data.toString('latin1'))?.[1];
          if (method) seen.push(`${method} ${target === first.endpoint ? 1 : 2}`);
          socket.data.bytes += data.length;
          if (upstream) upstream.write(data);
          else waiting.push(Buffer.from(data));
          if (cut && socket.data.bytes > 500_000) {
            cut = false;
            target = second.endpoint;
            upstream?.end();
            socket.terminate();
          }
        },
        close: (socket) => void socket.data.upstream?.end(),
      },
    });
    closers.push(async () => proxy.stop(true));
    const progress: number[] = [];
    const { upload, last } = await uploadByClient(who, `http://127.0.0.1:${proxy.port}/api/v1/uploads/tus`, bytes, {
      onProgress: (sent) => progress.push(sent),
    });
    expect(cut).toBe(false);
    expect(seen).toContain('HEAD 2');
    expect(seen.at(-1)).toBe('PATCH 2');
    const documentId = last?.getHeader('DreamHub-Document-Id') ?? '';
    expect(await contentOf(rig, who, documentId)).toBe(bytes.toString());
    const { body } = await (await by(who, second.endpoint)).read(
      new URL(new URL(upload.url ?? '').pathname, second.endpoint).href,
    );
    expect(body).toMatchObject({ status: 'finished', offset: 2_000_000, document_id: documentId, duplicate: false });
  });

  test('may begin with the first bytes, send chunks, and end what it began', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const bytes = Buffer.from(textOf(300_000));
    const { last, upload } = await uploadByClient(who, endpoint, bytes, {
      uploadDataDuringCreation: true,
      chunkSize: 70_000,
      overridePatchMethod: true,
    });
    expect(await contentOf(rig, who, last?.getHeader('DreamHub-Document-Id') ?? '')).toBe(bytes.toString());
    await tus.Upload.terminate(upload.url ?? '', { headers: await credentials(who) });
    expect((await (await by(who, endpoint)).head(upload.url ?? '')).status).toBe(404);
    expect(await contentOf(rig, who, last?.getHeader('DreamHub-Document-Id') ?? '')).toBe(bytes.toString());
  });
});

describe('an upload', () => {
  test('tells what is spoken, where to go on, and until when', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const options = await fetch(endpoint, { method: 'OPTIONS', headers: await credentials(who) });
    expect(options.status).toBe(204);
    expect(Object.fromEntries(options.headers)).toMatchObject({
      'tus-version': '1.0.0',
      'tus-resumable': '1.0.0',
      'tus-extension': 'creation,creation-with-upload,termination,expiration,checksum',
      'tus-max-size': '10000000',
      'tus-checksum-algorithm': 'sha1,sha256,sha512,md5',
    });
    const { create, send, head } = await by(who, endpoint);
    const { answer, url } = await create(1_000);
    expect(answer.status).toBe(201);
    const expires = Date.parse(answer.headers.get('upload-expires') ?? '');
    expect(expires).toBeGreaterThan(Date.now() + 23 * 3_600_000);
    expect((await send(url, 0, 'x'.repeat(400))).headers.get('upload-offset')).toBe('400');
    const asked = await head(url);
    expect(asked.status).toBe(200);
    expect(Object.fromEntries(asked.headers)).toMatchObject({
      'upload-offset': '400',
      'upload-length': '1000',
      'upload-metadata': encoded({ filename: 'notes.txt' }),
      'cache-control': 'no-store',
      'tus-resumable': '1.0.0',
    });
  });

  test('is nobody else’s, of another tenant or of the same', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const { create, send, read } = await by(who, endpoint);
    const { url } = await create(10);
    for (const other of [await rig.newTenant(), await rig.addUser(who.tenantId)]) {
      const they = await by(other, endpoint);
      expect((await they.head(url)).status).toBe(404);
      expect((await they.read(url)).body).toMatchObject({ status: 404, code: 'not_found' });
      expect((await they.send(url, 0, 'x'.repeat(10))).status).toBe(404);
      expect((await they.remove(url)).status).toBe(404);
    }
    expect((await fetch(url, { method: 'HEAD' })).status).toBe(401);
    expect((await send(url, 0, 'still mine')).status).toBe(204);
    expect((await read(url)).body).toMatchObject({ status: 'finished' });
  });

  test('takes bytes at its offset alone, as bytes, of this version, and no more than announced', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const { create, send, head } = await by(await rig.newTenant(), endpoint);
    const { url } = await create(100);
    expect((await send(url, 50, 'x')).status).toBe(409);
    expect((await send(url, 0, 'x', { 'content-type': 'text/plain' })).status).toBe(415);
    const version = await send(url, 0, 'x', { 'tus-resumable': '0.2.2' });
    expect([version.status, version.headers.get('tus-version')]).toEqual([412, '1.0.0']);
    const large = await send(url, 0, 'x'.repeat(101));
    expect([large.status, large.headers.get('content-type')]).toEqual([413, 'application/problem+json']);
    expect((await send(url, Number.NaN, 'x')).status).toBe(400);
    expect((await head(url)).headers.get('upload-offset')).toBe('0');
  });

  test('that brings more than was announced, without saying how much, is not taken for whole', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const { create, send, head } = await by(await rig.newTenant(), endpoint);
    const { url } = await create(10);
    const chunked = (text: string) =>
      new ReadableStream({
        async pull(controller) {
          await Promise.resolve();
          controller.enqueue(Buffer.from(text));
          controller.close();
        },
      });
    expect((await send(url, 0, chunked('0123456789 and more'))).status).toBe(413);
    expect((await head(url)).headers.get('upload-offset')).toBe('0');
    expect((await send(url, 0, chunked('0123456789'))).status).toBe(204);
    expect((await head(url)).headers.get('upload-offset')).toBe('10');
  });

  test.each([
    ['too large', 10_000_001, { filename: 'a.txt' }, 413],
    ['empty', 0, { filename: 'a.txt' }, 422],
    ['of no length', Number.NaN, { filename: 'a.txt' }, 400],
    ['with a field that does not fit', 10, { filename: 'a.txt', priority: '11' }, 422],
    ['with metadata that is no object', 10, { filename: 'a.txt', metadata: '[]' }, 422],
  ])('that is %s is refused before a byte is sent', async (_what, size, metadata, status) => {
    const rig = await start();
    const { create } = await by(await rig.newTenant(), startNode(rig).endpoint);
    const { answer } = await create(size, metadata);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });

  test.each(['filename', 'filename not!base64', 'filename /w==,filename /w==', 'filename /w=='])(
    'with the metadata %j is refused unless it can be read',
    async (metadata) => {
      const rig = await start();
      const { create } = await by(await rig.newTenant(), startNode(rig).endpoint);
      const { answer } = await create(10, {}, { headers: { 'upload-metadata': metadata } });
      expect(answer.status).toBe(metadata === 'filename' ? 201 : 400);
    },
  );

  test('keeps nothing whose checksum is another', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const { create, send, head } = await by(who, endpoint);
    const text = textOf(200_000);
    const { url } = await create(text.length);
    const sum = (part: string) => `sha1 ${createHash('sha1').update(part).digest('base64')}`;
    const [a, b] = [text.slice(0, 150_000), text.slice(150_000)];
    expect((await send(url, 0, a, { 'upload-checksum': sum(b) })).status).toBe(460);
    expect((await send(url, 0, a, { 'upload-checksum': 'crc32 AAAA' })).status).toBe(400);
    expect((await head(url)).headers.get('upload-offset')).toBe('0');
    expect((await send(url, 0, a, { 'upload-checksum': sum(a) })).headers.get('upload-offset')).toBe('150000');
    expect((await send(url, 150_000, b, { 'upload-checksum': sum(a) })).status).toBe(460);
    const done = await send(url, 150_000, b, { 'upload-checksum': sum(b) });
    expect(await contentOf(rig, who, done.headers.get('dreamhub-document-id') ?? '')).toBe(text);
  });

  test('is a duplicate where the same bytes are there', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, 'the same bytes');
    const { create, send } = await by(who, endpoint);
    const { url } = await create(14);
    const done = await send(url, 0, 'the same bytes');
    expect(done.headers.get('dreamhub-document-id')).toBe(receipt.document_id);
    expect(done.headers.get('dreamhub-duplicate')).toBe('true');
  });

  test('that no document can be made of has failed for good, and says why', async () => {
    const rig = await start();
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const { create, send, read, head } = await by(who, endpoint);
    const program = Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]), randomBytes(200_000)]);
    const { url } = await create(program.length, { filename: 'harmless.txt' });
    const refused = await send(url, 0, program);
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([
      415,
      'unsupported_media_type',
    ]);
    expect((await read(url)).body).toMatchObject({ status: 'failed', error: { code: 'unsupported_media_type' } });
    expect((await head(url)).status).toBe(415);
    expect((await send(url, 0, program)).status).toBe(415);
    expect(await partsOf(rig, who)).toEqual([]);
    expect((await rig.as(who, () => rig.documents.list({ limit: 10 }))).items).toEqual([]);
  });

  test('that the full queue refuses passes once there is room, by its last bytes alone', async () => {
    const rig = await start({ queueMaxDepth: 1 });
    const { endpoint } = startNode(rig);
    const who = await rig.newTenant();
    const { receipt } = await rig.upload(who, 'in the way');
    const text = textOf(200_000);
    const { create, send, head } = await by(who, endpoint);
    const { url } = await create(text.length);
    const refused = await send(url, 0, text);
    expect([refused.status, refused.headers.has('retry-after')]).toEqual([429, true]);
    const kept = Number((await head(url)).headers.get('upload-offset'));
    expect(kept).toBe(3 * 65_536);
    await rig.deliver(who, 'ingest', receipt.task_id);
    const done = await send(url, kept, text.slice(kept));
    expect(done.status).toBe(204);
    expect(await contentOf(rig, who, done.headers.get('dreamhub-document-id') ?? '')).toBe(text);
  });

  test('that two requests append to at once is made of the bytes of one', async () => {
    const rig = await start();
    const nodes = [startNode(rig), startNode(rig)];
    const who = await rig.newTenant();
    const text = textOf(600_000);
    const clients = await Promise.all(nodes.map(({ endpoint }) => by(who, endpoint)));
    const [one] = clients;
    if (!one) throw new Error('no client');
    const { url } = await one.create(text.length);
    const { pathname } = new URL(url);
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, i) => {
        const node = nodes[i % 2];
        return clients[i % 2]?.send(new URL(pathname, node?.endpoint).href, 0, text);
      }),
    );
    const statuses = answers.map((answer) => answer?.status);
    expect(statuses.filter((status) => status !== 204 && status !== 409)).toEqual([]);
    let offset = Number((await one.head(url)).headers.get('upload-offset'));
    // Whoever was last may have lost its turn to nobody: it goes on as a client would.
    for (let tries = 0; offset < text.length && tries < 20; tries++) {
      await one.send(url, offset, text.slice(offset));
      offset = Number((await one.head(url)).headers.get('upload-offset'));
    }
    const { body } = await one.read(url);
    expect(await contentOf(rig, who, String(body['document_id']))).toBe(text);
    expect((await rig.as(who, () => rig.documents.list({ limit: 10 }))).items).toHaveLength(1);
    expect(await rig.outstanding(who)).toBe(1);
    expect(await partsOf(rig, who)).toEqual([]);
  });

  test('is bounded in number', async () => {
    const rig = await start();
    const { resumable } = startNode(rig);
    const who = await rig.newTenant();
    const begin = () => rig.as(who, () => resumable.create({ size: 1, filename: 'a.txt', fields: {}, metadata: '' }));
    for (let i = 0; i < 100; i++) await begin();
    await expect(begin()).rejects.toMatchObject({ kind: 'rate_limited' });
  });

  test('that is forgotten expires, and is swept with its bytes', async () => {
    const rig = await start({});
    let now = Date.now();
    const clock: Clock = { ...systemClock, now: () => now };
    const { endpoint, resumable } = startNode(rig, { clock });
    const who = await rig.newTenant();
    const { create, send, head } = await by(who, endpoint);
    const { url } = await create(200_000);
    await send(url, 0, textOf(150_000));
    const sweep = createUploadSweep({ database: rig.database, resumable, clock, logger: silentLogger });
    now += 23 * 3_600_000;
    expect(await sweep.sweep()).toBe(0);
    expect((await partsOf(rig, who)).length).toBe(3);
    // Each bytes that arrive give it another day.
    expect((await send(url, 150_000, textOf(10_000))).status).toBe(204);
    now += 23 * 3_600_000;
    expect(await sweep.sweep()).toBe(0);
    now += 2 * 3_600_000;
    expect((await head(url)).status).toBe(404);
    expect(await sweep.sweep()).toBe(1);
    expect(await partsOf(rig, who)).toEqual([]);
    expect(await sweep.sweep()).toBe(0);
  });
});
