/**
 * Pages of a PDF beside bare unpdf. DreamHub's side is the whole way: the sandbox's child, unpdf's pdf.js, lines in
 * reading order, headings, places of pages, clean text in a file, and that file read again. The bare side is unpdf's
 * `extractText` in a process of its own: no layout, no places, nothing written. Both processes are warm.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSandboxedExtractor } from '../../src/ingest/sandbox.ts';
import { textPieces } from '../../src/ingest/text-pieces.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { pdf } from '../support/documents-pdf.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import type { Benchmark } from './support/benchmark.ts';
import { startChild } from './support/child.ts';
import { interleave, ratios } from './support/rounds.ts';

const PAGES = 300;
const LINES = 45;
/** What layout, places and the sandbox may cost. */
const TARGET = { atLeast: 0.8 };

function book(): Uint8Array {
  return pdf(
    Array.from({ length: PAGES }, (_, page) =>
      Array.from({ length: LINES }, (_, i) => ({
        text: `Page ${page}, line ${i}: some words, as pages of print have them, up to its end.`,
        x: 60,
        y: 740 - i * 15,
        size: i === 0 ? 16 : 11,
      })),
    ),
  );
}

export const benchmark: Benchmark = {
  name: 'pdf',
  about: `${PAGES} pages of a PDF through the sandbox, beside bare unpdf`,

  async run({ rounds, progress }) {
    const folder = await temporaryFolder();
    const extractor = createSandboxedExtractor({ logger: silentLogger, maxChildren: 1, maxJobs: 1_000 });
    let answered: (message: unknown) => void = () => {};
    await using peer = startChild({ script: 'test/bench/pdf-peer.ts', onMessage: (message) => answered(message) });
    try {
      const path = join(folder.path, 'book.pdf');
      await writeFile(path, book());
      const request = { path, mediaType: 'application/pdf', filename: 'book.pdf' };
      const sides = {
        async dreamhub() {
          const started = performance.now();
          const document = await extractor.extractFile(request, new AbortController().signal);
          let chars = 0;
          for await (const piece of textPieces(document)) chars += piece.length;
          await document.release();
          if (document.pages.length !== PAGES) throw new Error('pages are missing');
          return { ms: performance.now() - started, chars };
        },
        async unpdf() {
          const answer = Promise.withResolvers<unknown>();
          answered = answer.resolve;
          peer.send(path);
          const { pages, chars, ms } = (await answer.promise) as { pages: number; chars: number; ms: number };
          if (pages !== PAGES) throw new Error('pages are missing');
          return { ms, chars };
        },
      };
      progress('warming up');
      await interleave(2, sides);
      progress('reading, in turns');
      const { dreamhub, unpdf } = await interleave(rounds, sides);
      const ms = (side: readonly { ms: number }[]) => side.map((one) => (one.ms * 100) / PAGES);
      return [
        { label: 'DreamHub, 100 pages', unit: 'ms', values: ms(dreamhub) },
        { label: 'bare unpdf, 100 pages', unit: 'ms', values: ms(unpdf) },
        { label: 'pages/s, DreamHub to unpdf', unit: 'ratio', values: ratios(ms(unpdf), ms(dreamhub)), target: TARGET },
      ];
    } finally {
      await extractor.stop();
      await folder.remove();
    }
  },
};
