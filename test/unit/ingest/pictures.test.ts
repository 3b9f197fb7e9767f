/** Scans, faxes and other pictures that programs other than ours wrote, through the type decision and the real sandbox. */
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { ppmOfBmp } from '../../../src/ingest/bmp-pixels.ts';
import { firstFrame } from '../../../src/ingest/gif-frame.ts';
import { greyOf } from '../../../src/ingest/grey-pixels.ts';
import { createSandboxedExtractor } from '../../../src/ingest/sandbox.ts';
import { sniffFile } from '../../../src/ingest/sniff.ts';
import { tiffPages } from '../../../src/ingest/tiff-pages.ts';
import { stillWebp } from '../../../src/ingest/webp-frame.ts';
import { silentLogger } from '../../../src/kernel/logger.ts';
import { bmp, gif, tiff } from '../../support/documents-tiff.ts';

// Recognising text takes seconds, and on a busy machine many.
setDefaultTimeout(120_000);

const PICTURES = join(import.meta.dir, '../../support/pictures');
const folder = await mkdtemp(join(tmpdir(), 'dreamhub-pictures-'));
const extractor = createSandboxedExtractor({ logger: silentLogger, temporaryFolder: folder });
afterAll(async () => {
  await extractor.stop();
  await rm(folder, { recursive: true, force: true });
});

async function read(path: string, filename: string) {
  const { mediaType } = await sniffFile(path, filename);
  const document = await extractor.extract({ path, mediaType, filename }, new AbortController().signal);
  return { mediaType, ...document };
}

const FIRST = 'Refunds are paid within\nfourteen days of return.';
const SECOND = 'Invoices are sent monthly\nto the billing address.';

describe('a TIFF of two pages', () => {
  for (const name of ['fax-g3', 'fax-g4', 'scan-lzw', 'scan-deflate', 'scan-jpeg', 'scan-jpeg-colour']) {
    test(`as ${name}.tif has both of them as pages`, async () => {
      const { text, pages, mediaType } = await read(join(PICTURES, `${name}.tif`), 'renamed.txt');
      expect(mediaType).toBe('image/tiff');
      expect(pages.map(({ page, start, end }) => [page, text.slice(start, end)])).toEqual([
        [1, FIRST],
        [2, SECOND],
      ]);
      expect(text).toBe(`${FIRST}\n\n${SECOND}`);
    });
  }

  for (const name of ['turned', 'turned-jpeg']) {
    test(`is read as it is shown, not as it lies: ${name}.tif`, async () => {
      expect((await read(join(PICTURES, `${name}.tif`), 'a.tif')).text).toBe(FIRST);
    });
  }
});

test('a GIF is read by its first picture', async () => {
  const { text, mediaType, pages } = await read(join(PICTURES, 'moving.gif'), 'a.gif');
  expect([text, mediaType, pages]).toEqual([FIRST, 'image/gif', []]);
});

for (const [name, mediaType] of [
  ['moving.webp', 'image/webp'],
  ['moving.png', 'image/png'],
] as const) {
  test(`so is ${name}, which moves as well`, async () => {
    const { text, mediaType: found } = await read(join(PICTURES, name), name);
    expect([text, found]).toEqual([FIRST, mediaType]);
  });
}

test('a WebP that moves is looked at before it is decoded', async () => {
  const file = Buffer.from(await Bun.file(join(PICTURES, 'moving.webp')).bytes());
  const frame = file.indexOf('ANMF');
  const large = Buffer.from(file);
  large.fill(0xff, frame + 8 + 6, frame + 8 + 12);
  expect(() => stillWebp(large)).toThrow(expect.objectContaining({ code: 'limits_exceeded' }));
  expect(() => stillWebp(file.subarray(0, frame + 100))).toThrow(expect.objectContaining({ code: 'corrupt' }));
  expect(() => stillWebp(file.subarray(0, frame))).toThrow(expect.objectContaining({ code: 'corrupt' }));
  const still = stillWebp(file);
  expect(stillWebp(still)).toBe(still);
});

test('a page of print as BMP is read in the memory that other pictures take', async () => {
  const [width, height] = [2480, 3508];
  const path = join(folder, 'page.bmp');
  await writeFile(path, bmp(width, height, new Uint8Array(width * 3 * height).fill(255)));
  // It has nothing on it; it broke its reader before that could be seen.
  await expect(read(path, 'page.bmp')).rejects.toMatchObject({ code: 'empty' });
});

test('a page of more than twelve million pixels in colour goes on in grey, a smaller one as it is', () => {
  const fields = [[258, 3, 8, 8, 8] as const, [262, 3, 2] as const, [277, 3, 3] as const];
  const bytesOf = (width: number, height: number, samples: number) => {
    const strips = [deflateSync(new Uint8Array(width * 3 * height), { level: 1 })];
    const [page] = tiffPages(Buffer.from(tiff([{ width, height, compression: 8, strips, fields }])), 1);
    const file = page?.file().length ?? 0;
    const pixels = ppmOfBmp(bmp(width, height, new Uint8Array(width * 3 * height)))?.length ?? 0;
    return [file, pixels].map((bytes) => Math.round((bytes / (width * height * samples)) * 1000));
  };
  expect(bytesOf(4000, 3200, 1)).toEqual([1000, 1000]);
  expect(bytesOf(3200, 3200, 3)).toEqual([1000, 1000]);
});

test('colours of a large page become grey, a sample a pixel', () => {
  expect([...greyOf(Uint8Array.of(255, 255, 255, 9, 0, 0, 0, 9, 200, 100, 50, 9), 4)]).toEqual([255, 0, 124]);
});

test('pixels of a BMP are what they were, of each depth', () => {
  const bytes = (ppm: Uint8Array | undefined) => [...(ppm ?? []).slice(-12)];
  // Two pixels a row, two rows, the lower one first; blue, green, red.
  const rows = [1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0];
  expect(bytes(ppmOfBmp(bmp(2, 2, Uint8Array.from(rows))))).toEqual([9, 8, 7, 12, 11, 10, 3, 2, 1, 6, 5, 4]);
  expect(bytes(ppmOfBmp(bmp(2, -2, Uint8Array.from(rows))))).toEqual([3, 2, 1, 6, 5, 4, 9, 8, 7, 12, 11, 10]);
  const colours = Buffer.from('0102030004050600', 'hex');
  for (const [bits, row] of [
    [1, [0x40, 0, 0, 0]],
    [4, [0x01, 0, 0, 0]],
    [8, [0, 1, 0, 0]],
  ] as const) {
    const file = Buffer.from(bmp(2, 1, Buffer.concat([colours, Buffer.from(row)]), bits));
    file.writeUInt32LE(54 + colours.length, 10);
    expect(bytes(ppmOfBmp(file)).slice(-6)).toEqual([3, 2, 1, 6, 5, 4]);
  }
  expect(ppmOfBmp(bmp(2, 1, new Uint8Array(8), 16))).toBeUndefined();
});

describe('a TIFF is looked at before it is decoded', () => {
  const page = { width: 100, height: 100 };
  const pagesOf = (file: Uint8Array) => tiffPages(Buffer.from(file), 3);
  const filesOf = (file: Uint8Array) => pagesOf(file).map((one) => one.file());

  test('previews and masks are no pages, and directories in a circle end', () => {
    const preview = { ...page, fields: [[254, 4, 1] as const] };
    const mask = { ...page, fields: [[254, 4, 4] as const] };
    expect(pagesOf(tiff([preview, page, mask, page]))).toHaveLength(2);
    expect(pagesOf(tiff([page, page], () => 0))).toHaveLength(1);
    expect(pagesOf(tiff([page, page], (i) => 1 - i))).toHaveLength(2);
  });

  test('deflated samples are added up as the standard has it, of 8 and 16 bits', () => {
    const strip = deflateSync(Buffer.from([1, 2, 3, 250, 10, 0]));
    const eight = { width: 6, height: 1, compression: 8, strips: [strip], fields: [[317, 3, 2] as const] };
    expect([...(filesOf(tiff([eight]))[0] ?? []).slice(-6)]).toEqual([1, 3, 6, 0, 10, 10]);
    const sixteen = { ...eight, width: 3, fields: [[317, 3, 2] as const, [258, 3, 16] as const] };
    // 0x0201, 0xfa03, 0x000a
    expect([...(filesOf(tiff([sixteen]))[0] ?? []).slice(-6)]).toEqual([1, 2, 4, 252, 14, 252]);
  });

  const tall = { ...page, height: 65_536 };
  const cases: [string, () => unknown, string][] = [
    ['more pages than are recognised', () => pagesOf(tiff([page, page, page, page])), 'needs_ocr'],
    ['a page too large', () => pagesOf(tiff([page, tall])), 'limits_exceeded'],
    [
      'a strip that unpacks to more than it has room for',
      () => filesOf(tiff([{ ...page, compression: 8, strips: [deflateSync(new Uint8Array(20_000_000))] }])),
      'limits_exceeded',
    ],
    [
      'strips that unpack to more than a page',
      () =>
        filesOf(
          tiff([
            {
              ...page,
              width: 4000,
              height: 4000,
              compression: 8,
              strips: [],
              fields: [
                [273, 4, ...Array(99).fill(8)],
                [279, 4, ...Array(99).fill(1)],
                [278, 4, 4000],
              ],
            },
          ]),
        ),
      'limits_exceeded',
    ],
    [
      'strips that share bytes',
      () =>
        filesOf(
          tiff([
            {
              ...page,
              fields: [
                [273, 4, 8, 8, 8, 8],
                [279, 4, 500, 500, 500, 500],
              ],
            },
          ]),
        ),
      'corrupt',
    ],
    ['a page without data', () => filesOf(tiff([{ ...page, strips: [new Uint8Array()] }])), 'corrupt'],
    ['deflate that is none', () => filesOf(tiff([{ ...page, compression: 8 }])), 'corrupt'],
    ['no directory', () => pagesOf(tiff([])), 'corrupt'],
    ['a header alone', () => pagesOf(Buffer.from('II*\0')), 'corrupt'],
    ['tiles', () => filesOf(tiff([{ ...page, fields: [[322, 3, 16]] }])), 'unsupported_media_type'],
    [
      'planes',
      () =>
        filesOf(
          tiff([
            {
              ...page,
              fields: [
                [284, 3, 2],
                [277, 3, 3],
              ],
            },
          ]),
        ),
      'unsupported_media_type',
    ],
    ['a packing of today', () => filesOf(tiff([{ ...page, compression: 50_000 }])), 'unsupported_media_type'],
    ['JPEG that is none', () => filesOf(tiff([{ ...page, compression: 7 }])), 'unsupported_media_type'],
    ['BigTIFF', () => pagesOf(Buffer.from('49492b000800000000000000', 'hex')), 'unsupported_media_type'],
  ];
  for (const [title, take, code] of cases) {
    test(`${title}: ${code}`, () => expect(take).toThrow(expect.objectContaining({ code })));
  }
});

describe('a GIF is cut off behind its first picture', () => {
  test('however many follow', () => {
    const one = gif([20, 20]);
    expect(Buffer.from(firstFrame(gif([20, 20], [20, 20], 5000)))).toEqual(Buffer.from(one));
  });

  const cases: [string, Uint8Array, string][] = [
    ['a screen too large', gif([65_535, 65_535]), 'limits_exceeded'],
    ['a picture larger than its screen', gif([10, 10], [65_535, 65_535]), 'limits_exceeded'],
    ['no picture', gif([10, 10], [10, 10], 0), 'corrupt'],
    ['a picture that breaks off', gif([10, 10]).slice(0, -3), 'corrupt'],
    ['a header alone', gif([10, 10]).slice(0, 10), 'corrupt'],
  ];
  for (const [title, file, code] of cases) {
    test(`${title}: ${code}`, () => expect(() => firstFrame(file)).toThrow(expect.objectContaining({ code })));
  }
});
