import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Extractor } from '../../../src/contracts/index.ts';
import { ExtractError } from '../../../src/ingest/extract-error.ts';
import { decodeHead, type ResultHead, readResult } from '../../../src/ingest/extract-result.ts';
import { DOCX } from '../../../src/ingest/media-types.ts';
import { createSandboxedExtractor, type SandboxOptions } from '../../../src/ingest/sandbox.ts';
import { systemClock } from '../../../src/kernel/clock.ts';
import { runAs } from '../../../src/kernel/context.ts';
import { AppError } from '../../../src/kernel/errors.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import type { Service } from '../../../src/kernel/service.ts';
import { createTurns } from '../../../src/kernel/turns.ts';
import { pdf } from '../../support/documents-pdf.ts';
import { docx, paragraph } from '../../support/documents-zip.ts';

// A child takes a tenth of a second to start, and on a busy machine many times that.
setDefaultTimeout(60_000);

let folder: string;
let extractor: (Extractor & Service) | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dreamhub-sandbox-'));
});
afterEach(async () => {
  await extractor?.stop();
  extractor = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function request(content: string | Uint8Array, mediaType: string) {
  const path = join(folder, crypto.randomUUID());
  await writeFile(path, content);
  return { path, mediaType, filename: 'a' };
}

function open(options: Partial<SandboxOptions> = {}) {
  extractor = createSandboxedExtractor({ logger: silentLogger, temporaryFolder: folder, ...options });
  return extractor;
}

const PICTURES = join(import.meta.dir, '../../support/pictures');
const never = new AbortController().signal;
const page = pdf([[{ text: 'Hello from a child', x: 72, y: 700 }]]);
/** Pages enough that reading them takes seconds. */
const slow = () =>
  pdf(
    Array.from({ length: 6000 }, () =>
      Array.from({ length: 10 }, (_, i) => ({ text: 'word '.repeat(20), x: 72, y: 700 - i * 14 })),
    ),
  );

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'read',
    (error: unknown) => (error instanceof ExtractError ? error.code : String(error)),
  );

describe('extraction in a child', () => {
  test('reads every format', async () => {
    const { extract } = open();
    expect((await extract(await request(page, 'application/pdf'), never)).pages).toEqual([
      { page: 1, start: 0, end: 18 },
    ]);
    expect((await extract(await request(docx(paragraph('第一章', 'Heading1')), DOCX), never)).text).toBe('# 第一章');
    expect((await extract(await request('<p>x <b>y</b></p>', 'text/html'), never)).text).toBe('x y');
    expect((await extract(await request('# T\n', 'text/markdown'), never)).headings).toHaveLength(1);
    const long = `${'一行文字。\n'.repeat(100_000)}`;
    expect((await extract(await request(long, 'text/plain'), never)).text).toBe(long);
  });

  test('passes on why a document cannot be read', async () => {
    const { extract } = open({ limits: { outputChars: 5000 } });
    const code = async (content: string | Uint8Array, type: string) =>
      codeOf(extract(await request(content, type), never));
    expect(await code(pdf([[]]), 'application/pdf')).toBe('needs_ocr');
    expect(await code(' \n--\n', 'text/plain')).toBe('empty');
    expect(await code('<html><script>1</script>', 'text/html')).toBe('empty');
    expect(await code('x', 'image/heic')).toBe('unsupported_media_type');
    expect(await code('x', 'image/png')).toBe('corrupt');
    expect(await code('word '.repeat(2000), 'text/plain')).toBe('too_large');
    expect(await code('word '.repeat(500_000), 'text/html')).toBe('too_large');
  });

  test('throws plainly when the file is not there: another attempt may find it', async () => {
    const missing = { path: join(folder, 'none'), mediaType: 'application/pdf', filename: 'a' };
    await expect(open().extract(missing, never)).rejects.not.toBeInstanceOf(ExtractError);
  });

  test('serves more documents than it has children, all of them', async () => {
    const { extract } = open({ maxChildren: 2, maxJobs: 3 });
    const documents = await Promise.all(
      Array.from({ length: 8 }, async () => extract(await request(page, 'application/pdf'), never)),
    );
    expect(documents.map(({ text }) => text)).toEqual(Array(8).fill('Hello from a child'));
  });
});

describe('the only child', () => {
  const as = (tenantId: string) => ({ tenantId, userId: 'user', traceId: 'trace' });

  test("is lent to another tenant's document while a long one is read, which goes on", async () => {
    const { extract } = open({ maxChildren: 1 });
    const [long, short] = [await request(slow(), 'application/pdf'), await request(page, 'application/pdf')];
    const before = new Set(children());
    const controller = new AbortController();
    const reading = runAs(as('a'), () => codeOf(extract(long, controller.signal)));
    await waitForChild(before);
    const other = runAs(as('b'), () => codeOf(extract(short, never)));
    expect(await Promise.race([reading.then((code) => `long: ${code}`), other])).toBe('read');
    controller.abort(new Error('seen'));
    expect(await reading).toBe('Error: seen');
  });

  test("is nobody's turn: while it works, another step of its tenant goes on", async () => {
    const { extract } = open({ maxChildren: 1 });
    const turns = createTurns({ clock: systemClock, places: 1, alone: 1 });
    const long = await request(slow(), 'application/pdf');
    const before = new Set(children());
    const controller = new AbortController();
    const reading = runAs(as('a'), () => turns.take(() => codeOf(extract(long, controller.signal))));
    await waitForChild(before);
    expect(await runAs(as('a'), () => turns.take(async () => turns.counts().held))).toBe(1);
    controller.abort(new Error('seen'));
    expect(await reading).toBe('Error: seen');
    expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
  });
});

describe('a document that goes wrong', () => {
  test('fails when it takes too long, and the next one is read', async () => {
    const { extract } = open({ limits: { wallMs: 400 }, maxChildren: 1 });
    expect(await codeOf(extract(await request(slow(), 'application/pdf'), never))).toBe('parser_timeout');
    const patient = createSandboxedExtractor({ logger: silentLogger });
    expect(await codeOf(patient.extract(await request(page, 'application/pdf'), never))).toBe('read');
    await patient.stop();
  });

  test('has another time limit once its pictures are read, so that scans may take longer', async () => {
    const scan = await Bun.file(`${PICTURES}/english.png`).bytes();
    const { extract } = open({ limits: { recognitionMs: 1 } });
    expect(await codeOf(extract(await request(scan, 'image/png'), never))).toBe('parser_timeout');
    expect(await codeOf(extract(await request(page, 'application/pdf'), never))).toBe('read');
  });

  test('fails when it takes too much memory', async () => {
    const { extract } = open({ limits: { memoryMb: 100 } });
    expect(await codeOf(extract(await request(slow(), 'application/pdf'), never))).toBe('limits_exceeded');
  });

  test('takes its child with it when recognising it leaves much memory taken, and not when it leaves little', async () => {
    const scan = await request(await Bun.file(`${PICTURES}/english.png`).bytes(), 'image/png');
    const before = new Set(children());
    const left = async (memoryMb: number) => {
      const { extract, stop } = open({ limits: { memoryMb }, maxChildren: 1 });
      expect(await codeOf(extract(scan, never))).toBe('read');
      const kept = children().filter((pid) => !before.has(pid)).length;
      await stop();
      return kept;
    };
    // It holds some 100 MiB: more than a quarter of the one limit, less than a quarter of the other.
    expect(await left(300)).toBe(0);
    expect(await left(2048)).toBe(1);
  });

  test('fails when its child dies, and the next one is read', async () => {
    const { extract } = open({ maxChildren: 1 });
    const before = new Set(children());
    const dying = extract(await request(slow(), 'application/pdf'), never);
    const pid = await waitForChild(before);
    process.kill(pid, 'SIGKILL');
    expect(await codeOf(dying)).toBe('parser_crashed');
    expect(await codeOf(extract(await request(page, 'application/pdf'), never))).toBe('read');
  });

  test('is let go of when its task is cancelled, running or waiting', async () => {
    const { extract } = open({ maxChildren: 1 });
    const controller = new AbortController();
    const file = await request(slow(), 'application/pdf');
    const running = extract(file, controller.signal);
    const waiting = extract(file, controller.signal);
    const outcomes = Promise.all([running, waiting].map((job) => codeOf(job)));
    controller.abort(new Error('cancelled by its owner'));
    expect(await outcomes).toEqual(Array(2).fill('Error: cancelled by its owner'));
    expect(await codeOf(extract(await request(page, 'application/pdf'), never))).toBe('read');
  });
});

describe('the folder of results', () => {
  const text = () => request('Some words.', 'text/plain');
  const outcomeOf = (promise: Promise<unknown>) =>
    promise.then(
      () => 'read',
      (error: unknown) => (error instanceof AppError ? error.kind : String(error)),
    );

  test('that cannot be made is nothing that a document could help, and is made as soon as it can be', async () => {
    const later = join(folder, 'later');
    const { extract } = open({ temporaryFolder: later });
    expect(await outcomeOf(extract(await text(), never))).toBe('unavailable');
    await mkdir(later);
    expect(await outcomeOf(extract(await text(), never))).toBe('read');
  });

  test('is made again where somebody tidied it up, for this process and for its children', async () => {
    const own = join(folder, 'own');
    await mkdir(own);
    const { extract } = open({ temporaryFolder: own });
    expect(await outcomeOf(extract(await request(page, 'application/pdf'), never))).toBe('read');
    for (const name of await readdir(own)) await rm(join(own, name), { recursive: true });
    expect(await outcomeOf(extract(await text(), never))).toBe('read');
    expect(await outcomeOf(extract(await request(page, 'application/pdf'), never))).toBe('read');
  });
});

describe('stopping', () => {
  test('ends what runs and waits, leaves no child and no file, and may come first, twice, or before a start', async () => {
    const service = open({ maxChildren: 1 });
    await service.stop();
    await service.start();
    const before = new Set(children());
    const file = await request(slow(), 'application/pdf');
    const jobs = [service.extract(file, never), service.extract(file, never)].map((job) => codeOf(job));
    const pid = await waitForChild(before);
    await Promise.all([service.stop(), service.stop()]);
    for (const outcome of await Promise.all(jobs)) expect(outcome).toContain('stopping');
    expect(children()).not.toContain(pid);
    await expect(service.extract(file, never)).rejects.toThrow('stopping');
    await service.start();
    expect(await codeOf(service.extract(await request(page, 'application/pdf'), never))).toBe('read');
    await service.stop();
    expect((await readdir(folder)).filter((name) => name.startsWith('dreamhub-extract-'))).toEqual([]);
  });
});

describe('what a child leaves', () => {
  const head: ResultHead = {
    chars: 3,
    title: null,
    pages: [{ page: 1, start: 0, end: 3 }],
    headings: [],
    files: [{ name: 'a.txt', mediaType: 'text/plain' }],
  };

  test('is checked before it is used', () => {
    expect(decodeHead(JSON.stringify(head))).toEqual(head);
    const bad = (change: object) => () => decodeHead(JSON.stringify({ ...head, ...change }));
    expect(bad({ pages: [{ page: 1, start: 0, end: 4 }] })).toThrow('not in the text');
    expect(bad({ pages: [{ page: 1, start: 2, end: 1 }] })).toThrow('not in the text');
    expect(bad({ headings: [{ level: 9, title: 'x', start: 0, end: 1 }] })).toThrow('another shape');
    expect(bad({ files: [{ name: '', mediaType: '' }] })).toThrow('another shape');
    expect(() => decodeHead('not json')).toThrow();
  });

  test('is files, of the length that was said, and no links to anything else', async () => {
    const put = async (name: string, content: string) => writeFile(join(folder, name), content);
    await put('head', JSON.stringify(head));
    await put('text', 'a\nb');
    await put('file-0', 'attached');
    const result = await readResult(folder, { outputChars: 10 });
    expect(result.files).toEqual([{ name: 'a.txt', mediaType: 'text/plain', path: join(folder, 'file-0'), size: 8 }]);
    await expect(readResult(folder, { outputChars: 2 })).rejects.toThrow('another length');
    await put('text', 'much more than three characters');
    await expect(readResult(folder, { outputChars: 10 })).rejects.toThrow('another length');
    await put('text', 'a\nb');
    await rm(join(folder, 'file-0'));
    await symlink('/etc/hostname', join(folder, 'file-0'));
    await expect(readResult(folder, { outputChars: 10 })).rejects.toThrow('no file');
  });
});

/** Our own children, by the system's list. */
function children(): number[] {
  const { stdout } = Bun.spawnSync(['ps', '-o', 'pid=,args=', '--ppid', String(process.pid)]);
  const lines = stdout
    .toString()
    .split('\n')
    .filter((line) => line.includes('extract-child'));
  return lines.map((line) => Number.parseInt(line, 10));
}

async function waitForChild(known: ReadonlySet<number>): Promise<number> {
  for (;;) {
    const found = children().find((pid) => !known.has(pid));
    if (found !== undefined) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
