/**
 * A picture of a TIFF that is packed as JPEG, as a JPEG file. Its strips are JPEG files of their own without tables: their
 * data become one, with a restart marker where one strip ends and the next begins. TIFF Technical Note 2; ITU-T T.81, B.2.
 */

/** The most units between two restarts: they are counted in 16 bits. */
const MAX_INTERVAL = 0xffff;

export interface JpegStrips {
  width: number;
  height: number;
  rowsPerStrip: number;
  /** Whether samples are luminance and colour differences; the file says nothing of it. */
  ycbcr: boolean;
  /** As TIFF numbers them: 1 as it is shown. */
  orientation: number;
  /** Quantisation and Huffman tables of all strips, as an abbreviated JPEG. */
  tables: Uint8Array | undefined;
}

interface Strip {
  /** All before the frame, tables among them. */
  head: Buffer;
  frame: Buffer;
  /** Between the frame and the data: other tables and the head of the scan. */
  scan: Buffer;
  data: Buffer;
}

/** `undefined` where the strips cannot be put together: progressive, or packed by different tables. */
export function jpegOfStrips(strips: readonly Uint8Array[], shape: JpegStrips): Uint8Array | undefined {
  const parsed = strips.map(parse);
  const [first] = parsed;
  if (!first) return undefined;
  const { head, frame, scan } = first;
  const samples = frame[9] ?? 0;
  const factors = Array.from({ length: samples }, (_, i) => frame[11 + i * 3] ?? 0x11);
  const [across, down] =
    samples === 1 ? [1, 1] : [Math.max(...factors.map((f) => f >> 4)), Math.max(...factors.map((f) => f & 15))];
  const pieces: Uint8Array[] = [first.data];
  let interval: Buffer | undefined;
  if (parsed.length > 1) {
    const units = Math.ceil(shape.width / (8 * across)) * Math.ceil(shape.rowsPerStrip / (8 * down));
    if (shape.rowsPerStrip % (8 * down) !== 0 || units > MAX_INTERVAL || hasOwnRestarts(first)) return undefined;
    for (const [i, strip] of parsed.slice(1).entries()) {
      if (!strip?.head.equals(head) || !strip.scan.equals(scan)) return undefined;
      pieces.push(Buffer.from([0xff, 0xd0 + (i % 8)]), strip.data);
    }
    interval = Buffer.from([0xff, 0xdd, 0, 4, units >> 8, units & 0xff]);
  }
  const whole = Buffer.from(frame);
  whole.writeUInt16BE(shape.height, 5);
  whole.writeUInt16BE(shape.width, 7);
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    turned(shape.orientation),
    ...(samples >= 3 ? [adobe(shape.ycbcr)] : []),
    withoutEnds(shape.tables),
    head,
    whole,
    ...(interval ? [interval] : []),
    scan,
    ...pieces,
    Buffer.from([0xff, 0xd9]),
  ]);
}

/** Says how colours are to be read, which would be guessed otherwise. */
const adobe = (ycbcr: boolean) =>
  Buffer.concat([
    Buffer.from([0xff, 0xee, 0, 14]),
    Buffer.from('Adobe', 'latin1'),
    Buffer.from([0, 100, 0, 0, 0, 0, ycbcr ? 1 : 0]),
  ]);

/** The field of a photograph that says how it was held (Exif 2.3, 4.6.4). */
const turned = (orientation: number) =>
  Buffer.concat([
    Buffer.from([0xff, 0xe1, 0, 34]),
    Buffer.from('Exif\0\0MM\0*\0\0\0\x08\0\x01', 'latin1'),
    Buffer.from([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0]),
  ]);

const hasOwnRestarts = ({ head, scan }: Strip) => [head, scan].some((part) => part.includes(Buffer.from([0xff, 0xdd])));

function withoutEnds(tables: Uint8Array | undefined): Uint8Array {
  if (!tables || tables.length < 4) return new Uint8Array();
  const end = tables[tables.length - 2] === 0xff && tables[tables.length - 1] === 0xd9 ? -2 : undefined;
  return tables.subarray(2, end);
}

/** The parts of a strip of one scan; `undefined` for what is none. */
function parse(strip: Uint8Array): Strip | undefined {
  const bytes = Buffer.from(strip.buffer, strip.byteOffset, strip.byteLength);
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined;
  let frame: { start: number; end: number } | undefined;
  for (let at = 2; at + 4 <= bytes.length; ) {
    if (bytes[at] !== 0xff) return undefined;
    const marker = bytes[at + 1] ?? 0;
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    const end = at + 2 + bytes.readUInt16BE(at + 2);
    if (end > bytes.length) return undefined;
    // Baseline and extended; other frames have several scans, or are packed in other ways.
    if (marker === 0xc0 || marker === 0xc1) frame = { start: at, end };
    else if (marker >= 0xc2 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc)
      return undefined;
    if (marker === 0xda) {
      if (!frame || frame.end - frame.start < 11) return undefined;
      const last = bytes.lastIndexOf(Buffer.from([0xff, 0xd9]));
      return {
        head: bytes.subarray(2, frame.start),
        frame: bytes.subarray(frame.start, frame.end),
        scan: bytes.subarray(frame.end, end),
        data: bytes.subarray(end, last > end ? last : bytes.length),
      };
    }
    at = end;
  }
  return undefined;
}
