/**
 * The central directory of a ZIP file: what is inside, without unpacking any of it. It is the senders' claim, so it may
 * be used to refuse and to choose, never to trust: sizes are counted again while unpacking (`zip-limits.ts`).
 * Layout: APPNOTE.TXT 4.3.12 and 4.3.16.
 */
import { type FileHandle, open } from 'node:fs/promises';

export interface ZipEntry {
  name: string;
  /** 0 stored, 8 deflated; parsers here know no other. */
  method: number;
  encrypted: boolean;
  compressedSize: number;
  uncompressedSize: number;
  /** Where the entry's local header starts in the file. */
  offset: number;
}

const END_RECORD = 22;
const MAX_COMMENT = 0xffff;
const MAX_DIRECTORY_BYTES = 16 * 1024 * 1024;

/** `undefined` where there is no readable directory: cut off, not a ZIP, ZIP64, or a directory of more than 16 MiB. */
export async function readZipDirectory(path: string): Promise<ZipEntry[] | undefined> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, Math.max(0, size - END_RECORD - MAX_COMMENT), size);
    const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
    if (end < 0 || end + END_RECORD > tail.length) return undefined;
    const bytes = tail.readUInt32LE(end + 12);
    const start = tail.readUInt32LE(end + 16);
    if (bytes > MAX_DIRECTORY_BYTES || start + bytes > size) return undefined;
    return parseDirectory(await readAt(file, start, start + bytes));
  } finally {
    await file.close();
  }
}

async function readAt(file: FileHandle, start: number, end: number): Promise<Buffer> {
  const buffer = Buffer.alloc(end - start);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
  return buffer.subarray(0, bytesRead);
}

function parseDirectory(directory: Buffer): ZipEntry[] | undefined {
  const entries: ZipEntry[] = [];
  for (let at = 0; at < directory.length; ) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== 0x02014b50) return undefined;
    const nameLength = directory.readUInt16LE(at + 28);
    const next = at + 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    if (next > directory.length) return undefined;
    entries.push({
      name: directory.toString('utf8', at + 46, at + 46 + nameLength),
      method: directory.readUInt16LE(at + 10),
      encrypted: (directory.readUInt16LE(at + 8) & 1) === 1,
      compressedSize: directory.readUInt32LE(at + 20),
      uncompressedSize: directory.readUInt32LE(at + 24),
      offset: directory.readUInt32LE(at + 42),
    });
    at = next;
  }
  return entries;
}

/** Names of the entries whose local headers lie within the first bytes of a ZIP: a part of them, in file order. */
export function zipNamesInHead(head: Uint8Array): string[] {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  const signature = Buffer.from('PK\x03\x04', 'latin1');
  const names: string[] = [];
  for (let at = bytes.indexOf(signature); at >= 0 && at + 30 <= bytes.length; at = bytes.indexOf(signature, at + 30)) {
    const end = at + 30 + bytes.readUInt16LE(at + 26);
    if (end <= bytes.length) names.push(bytes.toString('utf8', at + 30, end));
  }
  return names;
}

/**
 * Whether a file that is something else ends as a ZIP does, with a list of parts that stands in it: the same bytes would
 * then be an archive to another program.
 */
export async function hasTrailingZip(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, Math.max(0, size - END_RECORD - MAX_COMMENT), size);
    const end = tail.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
    if (end < 0 || end + END_RECORD > tail.length) return false;
    // A document may hold an archive; only a comment may follow that archive's own end.
    if (end + END_RECORD + tail.readUInt16LE(end + 20) !== tail.length) return false;
    const bytes = tail.readUInt32LE(end + 12);
    const start = size - tail.length + end - bytes;
    if (start < 0 || bytes < 46) return false;
    return (await readAt(file, start, start + 4)).equals(Buffer.from('PK\x01\x02', 'latin1'));
  } finally {
    await file.close();
  }
}
