import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { AppError } from '../../../src/kernel/errors.ts';
import { createDiskBlobStore, type SweepableBlobStore } from '../../../src/storage/disk-blob-store.ts';
import { readUpload } from '../../../src/storage/multipart.ts';
import { kindOf, pattern } from '../../contract/blob-store.ts';
import {
  BOUNDARY,
  CONTENT_TYPE,
  field,
  file,
  multipartBytes,
  type Part,
  streamOf,
} from '../../support/documents-multipart.ts';

let root: string;
let store: SweepableBlobStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'dreamhub-upload-'));
  store = createDiskBlobStore({ root });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const staged = async () => (await readdir(join(root, 'staging')).catch(() => [])).length;

function upload(
  body: ReadableStream<Uint8Array> | null,
  {
    maxBytes = 1_000_000,
    signal,
    contentType = CONTENT_TYPE,
  }: { maxBytes?: number; signal?: AbortSignal; contentType?: string | null } = {},
) {
  return readUpload(body, contentType, {
    maxBytes,
    ...(signal && { signal }),
    onFile: (stream) => store.stage(stream, { maxBytes, ...(signal && { signal }) }),
    discard: (blob) => store.discard(blob),
  });
}
const uploadParts = (...parts: Part[]) => upload(streamOf(multipartBytes(parts)));

describe('reading an upload', () => {
  test('gives the fields, the file name and what was made of the file, in any order of parts', async () => {
    const bytes = pattern(50_000);
    for (const parts of [
      [field('title', '年度报告'), file('报告.pdf', bytes), field('metadata', '{"a":1}')],
      [file('报告.pdf', bytes), field('title', '年度报告'), field('metadata', '{"a":1}')],
    ]) {
      const result = await uploadParts(...parts);
      expect(result.fields).toEqual({ title: '年度报告', metadata: '{"a":1}' });
      expect(result.filename).toBe('报告.pdf');
      expect(result.file.size).toBe(bytes.length);
      expect(result.file.sha256).toBe(new Bun.CryptoHasher('sha256').update(bytes).digest('hex'));
    }
  });

  test('gives the same file however the network cuts the body', async () => {
    const content = pattern(700);
    const bytes = multipartBytes([field('title', 'x'), file('a.txt', content)]);
    const sha256 = new Bun.CryptoHasher('sha256').update(content).digest('hex');
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 300 }), async (size) => {
        const result = await upload(streamOf(bytes, { size }));
        expect(result.file.sha256).toBe(sha256);
      }),
      { numRuns: 40 },
    );
  });

  test('reads what fetch makes of a FormData', async () => {
    const form = new FormData();
    form.set('title', 'Ünïcode "quoted"');
    form.set('file', new File(['hello'], '中文 名称.txt'));
    const request = new Request('http://localhost/', { method: 'POST', body: form });
    const result = await upload(request.body, { contentType: request.headers.get('content-type') });
    expect(result.fields).toEqual({ title: 'Ünïcode "quoted"' });
    expect(result.filename).toBe('中文 名称.txt');
    expect(result.file.size).toBe(5);
  });

  test("decodes an extended file name (filename*=UTF-8'')", async () => {
    const disposition = `form-data; name="file"; filename*=UTF-8''%E5%90%88%E5%90%8C.docx`;
    expect((await uploadParts({ disposition, content: 'x' })).filename).toBe('合同.docx');
  });

  test('treats names as labels: no paths, no control or direction characters, bounded', async () => {
    const nameOf = async (name: string) => (await uploadParts(file(name, 'x'))).filename;
    expect(await nameOf('../../etc/passwd')).toBe('passwd');
    expect(await nameOf('C:\\Users\\me\\notes.txt')).toBe('notes.txt');
    expect(await nameOf('exe.\u202efdp')).toBe('exe.fdp');
    expect(await nameOf('a\u0007b.txt')).toBe('ab.txt');
    const long = await nameOf(`${'长'.repeat(2000)}.pdf`);
    expect([...long]).toHaveLength(255);
    expect(long.endsWith('长.pdf')).toBe(true);
  });

  test('takes a file part without a name, as `curl -F file=<x` sends it', async () => {
    const result = await uploadParts({ disposition: 'form-data; name="file"', content: 'hello' });
    expect(result).toMatchObject({ filename: 'file', file: { size: 5 } });
  });

  test('takes an empty file', async () => {
    expect((await uploadParts(file('a.txt', ''))).file.size).toBe(0);
  });

  test('ignores an epilogue and takes a field named __proto__ for what it is', async () => {
    const body = Buffer.concat([
      multipartBytes([field('__proto__', 'x'), file('a.txt', 'hi')]),
      Buffer.from('bye\r\n'),
    ]);
    const result = await upload(streamOf(body, { size: 10 }));
    expect(Object.entries(result.fields)).toEqual([['__proto__', 'x']]);
  });
});

describe('a bad upload', () => {
  afterEach(async () => {
    expect(await staged()).toBe(0);
  });

  test('says which part is missing', async () => {
    for (const parts of [[], [field('title', 'x')], [file('', '')]]) {
      const error = await uploadParts(...parts).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(AppError);
      expect(error).toMatchObject({ kind: 'invalid_request', errors: [{ path: 'file' }] });
    }
  });

  test('is refused with a second file, or a file under another name', async () => {
    expect(await kindOf(uploadParts(file('a.txt', 'a'), file('b.txt', 'b')))).toBe('invalid_request');
    const other = { disposition: 'form-data; name="avatar"; filename="a.txt"', content: 'a' };
    expect(await kindOf(uploadParts(other))).toBe('invalid_request');
    expect(await kindOf(uploadParts(file('a.txt', 'a'), other))).toBe('invalid_request');
  });

  test('is refused with too many or too long fields, before and after the file', async () => {
    const many = Array.from({ length: 40 }, (_, i) => field(`f${i}`, 'x'));
    const long = field('metadata', 'x'.repeat(70_000));
    for (const bad of [many, [long]]) {
      expect(await kindOf(uploadParts(...bad, file('a.txt', 'a')))).toBe('invalid_request');
      expect(await kindOf(uploadParts(file('a.txt', 'a'), ...bad))).toBe('invalid_request');
    }
  });

  test('is refused above the limit, and taken at it', async () => {
    const body = (size: number) => streamOf(multipartBytes([file('a.bin', pattern(size))]));
    expect(await kindOf(upload(body(10_001), { maxBytes: 10_000 }))).toBe('payload_too_large');
    const { file: blob } = await upload(body(10_000), { maxBytes: 10_000 });
    await store.discard(blob);
  });

  test('is refused when the noise around the file is endless', async () => {
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(new Uint8Array(1_000_000));
      },
    });
    expect(await kindOf(upload(endless))).toBe('payload_too_large');
  });

  test('is malformed when it is cut anywhere', async () => {
    const bytes = multipartBytes([field('title', 'x'), file('a.txt', pattern(3000)), field('last', 'y')]);
    for (const share of [0.01, 0.05, 0.3, 0.9, 0.97]) {
      const cut = bytes.slice(0, Math.floor(bytes.length * share));
      expect(await kindOf(upload(streamOf(cut)))).toBe('malformed');
      expect(await kindOf(upload(streamOf(cut, { ending: 'fail' })))).toBe('malformed');
      expect(await staged()).toBe(0);
    }
  });

  test('is malformed when the client goes away while the body hangs', async () => {
    const bytes = multipartBytes([file('a.txt', pattern(3000))]);
    for (const share of [0.01, 0.5]) {
      const controller = new AbortController();
      const body = streamOf(bytes.slice(0, Math.floor(bytes.length * share)), { ending: 'hang' });
      const result = upload(body, { signal: controller.signal });
      queueMicrotask(() => controller.abort());
      expect(await kindOf(result)).toBe('malformed');
    }
    expect(await kindOf(upload(streamOf(bytes), { signal: AbortSignal.abort() }))).toBe('malformed');
  });

  test('is malformed when it is no multipart', async () => {
    for (const contentType of [null, '', 'application/json', 'multipart/form-data', 'multipart/form-data; charset=x']) {
      expect(await kindOf(upload(streamOf(new Uint8Array(10)), { contentType }))).toBe('malformed');
    }
    expect(await kindOf(upload(null))).toBe('malformed');
    expect(await kindOf(upload(streamOf(new TextEncoder().encode('not a multipart at all'))))).toBe('malformed');
  });

  test('never crashes on noise, and keeps nothing', async () => {
    const marker = new TextEncoder().encode(
      `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n`,
    );
    const noise = fc.array(fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.constant(marker)), { maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(noise, async (pieces) => {
        const result = await upload(streamOf(Buffer.concat(pieces), { size: 37 })).catch((error: unknown) => error);
        expect(result).toBeInstanceOf(AppError);
        expect(await staged()).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test("passes on what the file's taker says, and stops reading", async () => {
    let pulled = 0;
    const bytes = multipartBytes([file('a.bin', pattern(1_000_000))]);
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(bytes.slice(pulled, pulled + 10_000));
        pulled += 10_000;
      },
    });
    const refused = readUpload(body, CONTENT_TYPE, {
      maxBytes: 10_000_000,
      onFile: async () => {
        throw new AppError('unsupported_media_type', 'no');
      },
      discard: async () => {},
    });
    expect(await kindOf(refused)).toBe('unsupported_media_type');
    expect(pulled).toBeLessThan(200_000);
  });
});
