/**
 * What is inside a compound file (the container of old Office documents and of Outlook's messages), by the names in its
 * directory: enough to tell them apart. Layout: [MS-CFB] 2.2 and 2.6.
 */
import { type FileHandle, open } from 'node:fs/promises';

const HEADER_BYTES = 512;
const ENTRY_BYTES = 128;
/** No document here has more; a loop in the chain of sectors ends there too. */
const MAX_DIRECTORY_BYTES = 4 * 1024 * 1024;
const END_OF_CHAIN = 0xfffffffa;

export function isCfb(head: Uint8Array): boolean {
  return Buffer.from(head.buffer, head.byteOffset, Math.min(8, head.length)).equals(
    Buffer.from('d0cf11e0a1b11ae1', 'hex'),
  );
}

/** Names of all streams and storages; `undefined` where there is no readable directory. */
export async function readCfbNames(path: string): Promise<string[] | undefined> {
  const file = await open(path, 'r');
  try {
    const header = await readAt(file, 0, HEADER_BYTES);
    const shift = header.length === HEADER_BYTES ? header.readUInt16LE(30) : 0;
    if (!isCfb(header) || (shift !== 9 && shift !== 12)) return undefined;
    const sectorBytes = 1 << shift;
    const names: string[] = [];
    let sector = header.readUInt32LE(48);
    for (let read = 0; sector < END_OF_CHAIN && read < MAX_DIRECTORY_BYTES; read += sectorBytes) {
      const entries = await readAt(file, (sector + 1) * sectorBytes, sectorBytes);
      if (entries.length < sectorBytes) return names.length > 0 ? names : undefined;
      names.push(...namesIn(entries));
      const next = await nextSector(file, header, sector, sectorBytes);
      if (next === undefined) break;
      sector = next;
    }
    return names;
  } finally {
    await file.close();
  }
}

function namesIn(entries: Buffer): string[] {
  const names: string[] = [];
  for (let at = 0; at + ENTRY_BYTES <= entries.length; at += ENTRY_BYTES) {
    const bytes = entries.readUInt16LE(at + 64);
    const used = entries.readUInt8(at + 66) !== 0;
    if (used && bytes >= 2 && bytes <= 64) names.push(entries.toString('utf16le', at, at + bytes - 2));
  }
  return names;
}

/** The chain of sectors is in the allocation table, whose first 109 sectors the header names. */
async function nextSector(
  file: FileHandle,
  header: Buffer,
  sector: number,
  sectorBytes: number,
): Promise<number | undefined> {
  const perSector = sectorBytes / 4;
  const table = Math.floor(sector / perSector);
  if (table >= 109) return undefined;
  const place = header.readUInt32LE(76 + table * 4);
  const bytes = await readAt(file, (place + 1) * sectorBytes + (sector % perSector) * 4, 4);
  return bytes.length === 4 ? bytes.readUInt32LE(0) : undefined;
}

async function readAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
