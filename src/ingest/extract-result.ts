/**
 * What an extraction leaves in a folder: `text`, in UTF-8, `head`, JSON that says the rest, and `file-0`, `file-1` …, the
 * files that are inside of the document. The child writes it; the worker believes nothing that it has not checked.
 */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { ExtractedFile, ExtractRequest } from '../contracts/index.ts';
import { ExtractError } from './extract-error.ts';
import { extractFile } from './extract-file.ts';
import { textInFile } from './text-output.ts';

export interface ResultLimits {
  /** The most UTF-16 units of text that one document may have. */
  outputChars: number;
  /** The most of them that an extractor may hold at once. */
  heldChars: number;
}

const MAX_FILES = 200;
const MAX_FILE_BYTES = 256 * 1024 * 1024;
const MAX_HEAD_BYTES = 64 * 1024 * 1024;
const MAX_NAME = 255;
/** No UTF-16 unit takes more bytes in UTF-8. */
const MAX_BYTES_A_CHAR = 3;

const Span = { start: Type.Integer({ minimum: 0 }), end: Type.Integer({ minimum: 0 }) };
const ResultHead = Type.Object({
  chars: Type.Integer({ minimum: 0 }),
  title: Type.Union([Type.String({ maxLength: 2000 }), Type.Null()]),
  pages: Type.Array(Type.Object({ ...Span, page: Type.Integer({ minimum: 1 }) })),
  headings: Type.Array(Type.Object({ ...Span, level: Type.Integer({ minimum: 1, maximum: 6 }), title: Type.String() })),
  files: Type.Array(
    Type.Object({
      name: Type.String({ minLength: 1, maxLength: MAX_NAME }),
      mediaType: Type.String({ maxLength: 200 }),
    }),
    { maxItems: MAX_FILES },
  ),
});
export type ResultHead = Static<typeof ResultHead>;

/** Extracts a document into the folder of a job. Rejects with `ExtractError` for what is the document's fault. */
export async function leaveResult(
  job: ExtractRequest & ResultLimits & { folder: string },
  { onRecognising }: { onRecognising(): void },
): Promise<void> {
  const files: ResultHead['files'] = [];
  let bytesLeft = MAX_FILE_BYTES;
  const text = openSync(join(job.folder, 'text'), 'wx', 0o600);
  try {
    const { title, pages, headings, chars } = await extractFile(job, textInFile(text, job.outputChars), {
      heldChars: job.heldChars,
      onRecognising,
      addFile(name, mediaType, bytes) {
        bytesLeft -= bytes.length;
        if (files.length === MAX_FILES || bytesLeft < 0) {
          throw new ExtractError('limits_exceeded', 'The document holds more files than one document may.');
        }
        writeFileSync(join(job.folder, `file-${files.length}`), bytes, { flag: 'wx', mode: 0o600 });
        files.push({ name: labelOf(name), mediaType: mediaType.slice(0, 200) });
      },
    });
    const short = title?.slice(0, 1000).toWellFormed() ?? null;
    const head: ResultHead = { chars, title: short, pages, headings, files };
    writeFileSync(join(job.folder, 'head'), JSON.stringify(head), { flag: 'wx', mode: 0o600 });
  } finally {
    closeSync(text);
  }
}

/** A name as a label: the last part of what may be a path, without what could be taken for anything else. */
function labelOf(name: string): string {
  const last = name.toWellFormed().split(/[/\\]/).at(-1) ?? '';
  const plain = last.replace(/[\p{Cc}\p{Cf}\ufffd]/gu, '').trim();
  // Its ending says what it is, so the middle goes.
  const short = plain.length > MAX_NAME ? `${plain.slice(0, MAX_NAME - 32)}…${plain.slice(-30)}`.toWellFormed() : plain;
  return /^\.*$/.test(short) ? 'file' : short;
}

/** Throws when what is in the folder is not a document: spans must lie in the text, files must be files. */
export async function readResult(
  folder: string,
  { outputChars }: Pick<ResultLimits, 'outputChars'>,
): Promise<Omit<ExtractedFile, 'release'>> {
  const headPath = join(folder, 'head');
  if ((await sizeOf(headPath)) > MAX_HEAD_BYTES) throw new Error('the child left too long a head');
  const head = decodeHead(await readFile(headPath, 'utf8'));
  const textPath = join(folder, 'text');
  if (head.chars > outputChars || (await sizeOf(textPath)) > head.chars * MAX_BYTES_A_CHAR) {
    throw new Error('the child left a text of another length');
  }
  const files = await Promise.all(
    head.files.map(async (file, i) => {
      const path = join(folder, `file-${i}`);
      return { ...file, path, size: await sizeOf(path) };
    }),
  );
  return { ...head, textPath, files };
}

export function decodeHead(encoded: string): ResultHead {
  const head: unknown = JSON.parse(encoded);
  if (!Value.Check(ResultHead, head)) throw new Error('the child left a result of another shape');
  if (!inOrder(head.pages, head.chars) || !inOrder(head.headings, head.chars)) {
    throw new Error('the child left spans that are not in the text');
  }
  return head;
}

async function sizeOf(path: string): Promise<number> {
  const found = await lstat(path);
  if (!found.isFile()) throw new Error('the child left something that is no file');
  return found.size;
}

function inOrder(spans: readonly { start: number; end: number }[], length: number): boolean {
  let last = 0;
  for (const { start, end } of spans) {
    if (start < last || end < start || end > length) return false;
    last = end;
  }
  return true;
}
