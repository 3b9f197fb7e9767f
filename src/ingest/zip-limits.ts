/**
 * Unpacks chosen parts of a ZIP within limits that hold whatever its directory claims: a bomb is noticed before it is
 * unpacked where the claim shows it, and while unpacking where the claim lies. Parsers are given what comes out of here,
 * packed anew without compression (`zip-write.ts`), so no trick of the original's structure reaches them.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { inflateRawSync } from 'node:zlib';
import { ExtractError } from './extract-error.ts';
import { readZipDirectory, type ZipEntry } from './zip-directory.ts';

const MIB = 1024 * 1024;

export interface ZipLimits {
  maxEntries: number;
  /** What the chosen parts may have unpacked, together. */
  maxUnpackedBytes: number;
}

const DEFAULT_ZIP_LIMITS: ZipLimits = { maxEntries: 2000, maxUnpackedBytes: 64 * MIB };

/** What is not read may be large (pictures), but not a thousand times what it is packed. */
const MAX_RATIO = 100;

/** Rejects with `corrupt`, `encrypted` or `limits_exceeded`. */
export async function unpackZip(
  path: string,
  wanted: (name: string) => boolean,
  { maxEntries, maxUnpackedBytes }: ZipLimits = DEFAULT_ZIP_LIMITS,
): Promise<Map<string, Uint8Array>> {
  const entries = await readZipDirectory(path);
  if (!entries) throw new ExtractError('corrupt', 'The file is damaged: its list of parts cannot be read.');
  if (entries.length > maxEntries) throw tooMuch(`The file consists of more than ${maxEntries} parts.`);

  const file = await open(path, 'r');
  try {
    assertPlausible(entries, (await file.stat()).size, maxUnpackedBytes);
    const parts = new Map<string, Uint8Array>();
    let left = maxUnpackedBytes;
    for (const entry of entries) {
      if (!wanted(entry.name)) continue;
      if (entry.encrypted) throw new ExtractError('encrypted', 'The file is protected with a password.');
      if (entry.uncompressedSize > left) throw unpackedTooMuch();
      const bytes = await unpack(file, entry, left);
      left -= bytes.length;
      parts.set(entry.name, bytes);
    }
    return parts;
  } finally {
    await file.close();
  }
}

function assertPlausible(entries: readonly ZipEntry[], fileSize: number, maxUnpackedBytes: number): void {
  const total = entries.reduce((sum, { uncompressedSize }) => sum + uncompressedSize, 0);
  if (total > maxUnpackedBytes && total > fileSize * MAX_RATIO) throw unpackedTooMuch();
  let end = 0;
  for (const { offset, compressedSize } of entries.toSorted((a, b) => a.offset - b.offset)) {
    // Parts that share bytes: how a small file claims to hold terabytes.
    if (offset < end) throw tooMuch('The parts of the file overlap.');
    end = offset + 30 + compressedSize;
  }
  if (end > fileSize) throw new ExtractError('corrupt', 'The file is damaged: a part of it is missing.');
}

async function unpack(file: FileHandle, entry: ZipEntry, maxBytes: number): Promise<Uint8Array> {
  const header = await read(file, entry.offset, 30);
  if (header.readUInt32LE(0) !== 0x04034b50) throw damaged(entry);
  const start = entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
  const packed = await read(file, start, entry.compressedSize);
  if (entry.method === 0) {
    if (packed.length > maxBytes) throw unpackedTooMuch();
    return packed;
  }
  if (entry.method !== 8) throw damaged(entry);
  try {
    return inflateRawSync(packed, { maxOutputLength: Math.max(1, maxBytes) });
  } catch (error) {
    if (error instanceof RangeError) throw unpackedTooMuch();
    throw damaged(entry, error);
  }
}

async function read(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  if (bytesRead < length) throw new ExtractError('corrupt', 'The file is damaged: a part of it is missing.');
  return buffer;
}

const tooMuch = (message: string) => new ExtractError('limits_exceeded', message);
const unpackedTooMuch = () => tooMuch('The file unpacks to more than a document may have.');
const damaged = ({ name }: ZipEntry, cause?: unknown) =>
  new ExtractError('corrupt', `The file is damaged: its part ${name.slice(0, 100)} cannot be read.`, cause);
