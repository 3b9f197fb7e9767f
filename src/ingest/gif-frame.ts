/**
 * A GIF up to its first picture. Its reader would unpack every picture in it, and there can be thousands; what moves says
 * seldom more than it shows at first. Layout: GIF89a, sections 18 to 27.
 */
import { ExtractError } from './extract-error.ts';
import { assertDecodable } from './picture-size.ts';

const IMAGE = 0x2c;
const EXTENSION = 0x21;
const TRAILER = 0x3b;

/** Throws `corrupt` where there is no whole picture, `limits_exceeded` where it is too large. */
export function firstFrame(gif: Uint8Array): Uint8Array {
  const bytes = Buffer.from(gif.buffer, gif.byteOffset, gif.byteLength);
  if (bytes.length < 13) throw damaged();
  assertDecodable(bytes.readUInt16LE(6), bytes.readUInt16LE(8));
  let at = 13 + tableBytes(bytes[10] ?? 0);
  for (let kind = bytes[at]; kind === EXTENSION; kind = bytes[at]) at = afterBlocks(bytes, at + 2);
  if (bytes[at] !== IMAGE || at + 11 > bytes.length) throw damaged();
  // Pictures may be larger than what they say they are shown on.
  const [width, height] = [bytes.readUInt16LE(at + 5), bytes.readUInt16LE(at + 7)];
  assertDecodable(width, height);
  const end = afterBlocks(bytes, at + 10 + tableBytes(bytes[at + 9] ?? 0) + 1);
  return Buffer.concat([bytes.subarray(0, end), Buffer.from([TRAILER])]);
}

/** Colours of three bytes; how many, is in the last bits. */
const tableBytes = (packed: number) => ((packed & 0x80) === 0 ? 0 : 3 << ((packed & 7) + 1));

/** Behind blocks that say how long they are, up to one of none. */
function afterBlocks(bytes: Buffer, start: number): number {
  let at = start;
  for (let size = bytes[at]; size !== undefined; size = bytes[at]) {
    at += 1 + size;
    if (size === 0) return at;
  }
  throw damaged();
}

const damaged = () => new ExtractError('corrupt', 'The picture is damaged and cannot be read.');
