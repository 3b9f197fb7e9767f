/** Extraction of bytes in this process: for tests of extractors, without the sandbox that they run in otherwise. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExtractedDocument } from '../../src/contracts/index.ts';
import { ExtractError } from '../../src/ingest/extract-error.ts';
import { extractFile } from '../../src/ingest/extract-file.ts';
import { sniffFile } from '../../src/ingest/sniff.ts';
import { textInMemory } from '../../src/ingest/text-output.ts';
import { AppError } from '../../src/kernel/errors.ts';

export interface ReadDocument extends ExtractedDocument {
  /** Files inside of it. */
  files: { name: string; mediaType: string; bytes: Uint8Array }[];
}

/** Rejects as the extractor does. */
export async function readDocument(
  content: Uint8Array | string,
  mediaType: string,
  maxChars = 1_000_000,
): Promise<ReadDocument> {
  const folder = await mkdtemp(join(tmpdir(), 'dreamhub-read-'));
  const path = join(folder, 'document');
  const files: ReadDocument['files'] = [];
  const output = textInMemory(maxChars);
  try {
    await writeFile(path, content);
    const { title, pages, headings } = await extractFile({ path, mediaType, filename: 'document' }, output, {
      heldChars: maxChars,
      addFile: (name, type, bytes) => files.push({ name, mediaType: type, bytes }),
      onRecognising: () => {},
    });
    return { text: output.text(), title, pages, headings, files };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The same of a file by its name: its type is found as an upload's is. */
export async function readNamed(content: Uint8Array | string, filename: string): Promise<ReadDocument> {
  const folder = await mkdtemp(join(tmpdir(), 'dreamhub-named-'));
  try {
    const path = join(folder, 'document');
    await writeFile(path, content);
    return await readDocument(content, (await sniffFile(path, filename)).mediaType);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** `read`, or the code of the refusal; another error passes. */
export function outcomeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'read',
    (error: unknown) => {
      if (error instanceof ExtractError) return error.code;
      if (error instanceof AppError) return error.kind;
      throw error;
    },
  );
}
