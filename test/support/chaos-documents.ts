/** What is uploaded, and what ingestion must make of it. Every section says whose it is, so that nothing can hide where it came from. */
import { join } from 'node:path';
import { chunkDocument, createChunker } from '../../src/ingest/chunker.ts';
import { createSandboxedExtractor } from '../../src/ingest/sandbox.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createRandom } from './chaos-random.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface Input {
  /** In every section of it, and in no other input: `tenant-tag/number`. */
  readonly mark: string;
  readonly filename: string;
  readonly content: string;
  /** It cannot be read: its task has to fail, with a reason. */
  readonly isBroken: boolean;
}

export interface ExpectedChunk {
  ordinal: number;
  text: string;
  start: number;
  end: number;
}

const WORDS = (
  'harbour lantern keeper granite tide cellar orchard ledger copper meadow signal rope barrel window quarry ' +
  'feather engine mill anchor compass garden letter bridge winter station paper salt river market clock'
).split(' ');
/** More than the chunker's least, so that each section becomes a chunk of its own. */
const WORDS_A_SECTION = 90;

/** Markdown whose every section becomes one chunk, all of them different. */
export function inputOf(tag: string, number: number, sections: number): Input {
  const mark = `${tag}/${number}`;
  const random = createRandom(Bun.hash.crc32(mark));
  const parts = Array.from({ length: sections }, (_, section) => {
    const words = Array.from({ length: WORDS_A_SECTION }, () => random.pick(WORDS)).join(' ');
    return `## Section ${section} of ${mark}\n\nThe number of ${mark} is ${section}. It says: ${words}.`;
  });
  return { mark, filename: `document-${number}.md`, content: parts.join('\n\n'), isBroken: false };
}

export function brokenInputOf(tag: string, number: number): Input {
  const mark = `${tag}/${number}`;
  return { mark, filename: `broken-${number}.pdf`, content: `%PDF-1.7\n${mark} is no PDF at all`, isBroken: true };
}

const expected = new Map<string, Promise<ExpectedChunk[]>>();

/** What the real extractor and the real chunker make of it, computed here and not by a worker. */
export function expectedChunks(input: Input): Promise<ExpectedChunk[]> {
  const known = expected.get(input.content) ?? computeChunks(input);
  expected.set(input.content, known);
  return known;
}

async function computeChunks({ filename, content }: Input): Promise<ExpectedChunk[]> {
  const folder = await temporaryFolder();
  const extractor = createSandboxedExtractor({ logger: silentLogger, temporaryFolder: folder.path });
  try {
    const path = join(folder.path, filename);
    await Bun.write(path, content);
    const request = { path, filename, mediaType: 'text/markdown' };
    const document = await extractor.extract(request, AbortSignal.timeout(60_000));
    const chunks = await chunkDocument(createChunker(), document);
    return chunks.map(({ ordinal, text, start, end }) => ({ ordinal, text, start, end }));
  } finally {
    await extractor.stop();
    await folder.remove();
  }
}
