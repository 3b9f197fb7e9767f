/**
 * The first picture of a WebP that moves, as one that does not: its decoder knows no other. Layout: WebP Container
 * Specification, "Extended file format".
 */
import { ExtractError } from './extract-error.ts';
import { assertDecodable } from './picture-size.ts';

const CHUNK_HEADER = 8;
/** Place, size, time and flags of a frame stand before its picture. */
const FRAME_HEADER = 16;
const ANIMATION = 0x02;
const ALPHA = 0x10;

/** What does not move is given back as it is. Throws `corrupt` or `limits_exceeded`. */
export function stillWebp(file: Uint8Array): Uint8Array {
  const webp = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const isExtended = webp.length > 30 && webp.toString('latin1', 12, 16) === 'VP8X';
  if (!isExtended || ((webp[20] ?? 0) & ANIMATION) === 0) return file;
  for (let at = 12; at + CHUNK_HEADER <= webp.length; ) {
    const bytes = webp.readUInt32LE(at + 4);
    const end = at + CHUNK_HEADER + bytes;
    if (webp.toString('latin1', at, at + 4) === 'ANMF') {
      if (bytes < FRAME_HEADER + CHUNK_HEADER || end > webp.length) break;
      const start = at + CHUNK_HEADER;
      assertDecodable(webp.readUIntLE(start + 6, 3) + 1, webp.readUIntLE(start + 9, 3) + 1);
      return still(webp.subarray(start + 6, start + 12), webp.subarray(start + FRAME_HEADER, end));
    }
    at = end + (bytes & 1);
  }
  throw new ExtractError('corrupt', 'The picture is damaged and cannot be read.');
}

/** `size` as a frame has it, width and height less one; the same form as a file's own. */
function still(size: Uint8Array, picture: Buffer): Uint8Array {
  const features = Buffer.from([picture.toString('latin1', 0, 4) === 'ALPH' ? ALPHA : 0, 0, 0, 0]);
  const body = Buffer.concat([Buffer.from('WEBP'), chunk('VP8X', Buffer.concat([features, size])), picture]);
  return chunk('RIFF', body);
}

function chunk(name: string, data: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(data.length);
  return Buffer.concat([Buffer.from(name, 'latin1'), length, data]);
}
