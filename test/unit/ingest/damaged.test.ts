/** Real files of binary formats with bytes changed or missing: each is read, or refused in words, and nothing else happens. */
import { expect, setDefaultTimeout, test } from 'bun:test';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { ppmOfBmp } from '../../../src/ingest/bmp-pixels.ts';
import { ExtractError } from '../../../src/ingest/extract-error.ts';
import { firstFrame } from '../../../src/ingest/gif-frame.ts';
import * as type from '../../../src/ingest/media-types.ts';
import { tiffPages } from '../../../src/ingest/tiff-pages.ts';
import { readTnef } from '../../../src/ingest/tnef.ts';
import { stillWebp } from '../../../src/ingest/webp-frame.ts';
import { readDocument } from '../../support/documents-extract.ts';
import { box, ppt, record, reference, slide, text } from '../../support/documents-ppt.ts';
import { bmp } from '../../support/documents-tiff.ts';
import { tnef } from '../../support/documents-tnef.ts';

setDefaultTimeout(120_000);

const SUPPORT = join(import.meta.dir, '../../support');
const picture = (name: string) => Bun.file(join(SUPPORT, 'pictures', name)).bytes();
const tiffFiles = (file: Uint8Array) => tiffPages(Buffer.from(file), 60).map((page) => page.file());

const smallPpt = ppt({
  objects: { 2: slide([reference(0), record(0xf003, [record(0xf004, []), box(text(4, 'deep'))])], 301) },
  slides: [{ object: 2, id: 256, outline: [text(0, 'Title'), text(1, 'body', true)] }],
});

type Case = readonly [string, () => Promise<Uint8Array>, (file: Uint8Array) => unknown];
const CASES: readonly Case[] = [
  ...['fax-g3', 'scan-lzw', 'scan-deflate', 'scan-jpeg', 'scan-jpeg-colour', 'turned-jpeg'].map(
    (name): Case => [`${name}.tif`, () => picture(`${name}.tif`), tiffFiles],
  ),
  ['moving.gif', () => picture('moving.gif'), firstFrame],
  ['moving.webp', () => picture('moving.webp'), stillWebp],
  ['a BMP', async () => bmp(9, 7, new Uint8Array(9 * 32)), ppmOfBmp],
  ['talk.ppt', async () => gunzipSync(await Bun.file(join(SUPPORT, 'office/talk.ppt.gz')).bytes()), readPpt],
  ['a small PPT', async () => smallPpt, readPpt],
  ['winmail.dat', async () => tnef({ message: [[0x1000, 'x']], attachments: [{ data: Buffer.from('x') }] }), readTnef],
];

function readPpt(file: Uint8Array): Promise<unknown> {
  return readDocument(file, type.PPT);
}

/** Bytes are changed near the beginning as well as anywhere, because there it is said what the rest is. */
const damage = fc.record({
  changes: fc.array(
    fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.boolean(), fc.integer({ min: 0, max: 255 })),
    {
      minLength: 1,
      maxLength: 12,
    },
  ),
  cut: fc.option(fc.double({ min: 0, max: 1, noNaN: true })),
});

for (const [title, content, read] of CASES) {
  test(title, async () => {
    const whole = await content();
    await fc.assert(
      fc.asyncProperty(damage, async ({ changes, cut }) => {
        const file = Uint8Array.from(whole);
        for (const [place, early, value] of changes) file[Math.floor(place * (early ? 300 : file.length - 1))] = value;
        const outcome = await (async () =>
          read(cut === null ? file : file.subarray(0, Math.floor(cut * file.length))))()
          .then(() => 'read')
          .catch((error: unknown) => error);
        if (outcome !== 'read') expect(outcome).toBeInstanceOf(ExtractError);
        // Said of what is out of bounds, it would be wrong: only what is deep is.
        if (outcome instanceof ExtractError) expect(outcome.message).not.toContain('nested');
      }),
      { numRuns: 300 },
    );
  });
}
