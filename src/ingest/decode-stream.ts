/**
 * A text file as a stream of strings, whatever its encoding and length. Short files are looked at whole to find their
 * encoding; of long ones the beginning, and where that is ASCII alone, the place of the first other character.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { type Charset, charsetByBom, createDecoder, detectCharset, isUtf8, knownCharset } from './charset.ts';
import { ExtractError } from './extract-error.ts';

const BLOCK_BYTES = 256 * 1024;
/** Files up to this size are decided by all of their bytes. */
const WHOLE_BYTES = 4 * 1024 * 1024;
const SAMPLE_BYTES = 64 * 1024;

export interface DecodeOptions {
  /** What the file says of its own encoding, from its first bytes; believed unless the bytes contradict it. */
  declared?: (head: string) => string | undefined;
}

/** Rejects with `corrupt` where no encoding makes sense of the bytes. What cannot be decoded becomes U+FFFD. */
export async function* decodeFile(path: string, { declared }: DecodeOptions = {}): AsyncGenerator<string> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const charset = await charsetOf(file, size, declared);
    const decoder = createDecoder(charset);
    const block = new Uint8Array(BLOCK_BYTES);
    for (let at = 0; at < size; ) {
      const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, at);
      if (bytesRead === 0) break;
      at += bytesRead;
      yield decoder.decode(block.subarray(0, bytesRead));
    }
    yield decoder.end();
  } finally {
    await file.close();
  }
}

async function charsetOf(file: FileHandle, size: number, declared: DecodeOptions['declared']): Promise<Charset> {
  const head = await readAt(file, 0, Math.min(size, WHOLE_BYTES));
  const complete = size <= WHOLE_BYTES;
  const label = declared?.(head.subarray(0, 4096).toString('latin1'));
  const known = label ? knownCharset(label) : undefined;
  // What could be read as ASCII is not in UTF-16, whatever it says.
  const claim = known?.startsWith('utf-16') ? 'utf-8' : known;
  const believed = claim && !(claim === 'utf-8' && !isUtf8(head, complete)) ? claim : undefined;
  const found = charsetByBom(head) ?? believed ?? detectCharset(await sampleOf(file, size, head), complete);
  if (!found) throw new ExtractError('corrupt', 'The text is in no character encoding that is known here.');
  return found;
}

/** The head of a file, or what surrounds its first byte that is not ASCII where that comes later. */
async function sampleOf(file: FileHandle, size: number, head: Buffer): Promise<Buffer> {
  if (size <= head.length || !isAscii(head)) return head;
  for (let at = head.length; at < size; at += WHOLE_BYTES) {
    const block = await readAt(file, at, Math.min(WHOLE_BYTES, size - at));
    const first = firstForeign(block);
    if (first < 0) continue;
    // From the start of its line, which is the start of a character.
    const start = Math.max(block.lastIndexOf(0x0a, first) + 1, first - 1024);
    return readAt(file, at + start, Math.min(SAMPLE_BYTES, size - at - start));
  }
  return head;
}

const isAscii = (bytes: Buffer) => firstForeign(bytes) < 0;

function firstForeign(bytes: Buffer): number {
  // Both run natively; a loop over bytes would take seconds for a long file.
  return bytes.toString('latin1').search(/[\x80-\xff\0]/);
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
