/**
 * The text of a version while it is worked on. It is written to its blob as it comes and read from there again by places,
 * so that its length costs no memory; a short text is kept beside it, because reading would take longer than the rest.
 */
import type { BlobStore } from '../contracts/index.ts';

export interface DocumentText {
  /** UTF-16 code units. */
  readonly length: number;
  /** From the start, in well-formed pieces. */
  pieces(): AsyncIterable<string>;
  /** `text.slice(start, end)`; places between the units of a surrogate pair are nobody's. */
  slice(start: number, end: number): Promise<string>;
}

/** Longer texts are read from their blob. */
const KEPT_CHARS = 1024 * 1024;
/** Far above what an upload may have: the limit of a text is the extractor's. */
const MAX_BYTES = 2 ** 40;

/** Writes the text to its blob; what an earlier attempt left there is replaced at once, or stays if this fails. */
export async function storeText(
  blobs: Pick<BlobStore, 'stage' | 'promote' | 'put' | 'read'>,
  key: string,
  pieces: AsyncIterable<string>,
  { chars, signal }: { chars: number; signal: AbortSignal },
): Promise<DocumentText> {
  if (chars <= KEPT_CHARS) {
    const text = (await Array.fromAsync(pieces)).join('');
    await blobs.put(key, text);
    return memoryText(text);
  }
  const index = createPieceIndex();
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      const encoded = Buffer.from(piece, 'utf8');
      index.add(piece.length, encoded.length);
      yield encoded;
    }
  }
  const staged = await blobs.stage(bytes(), { maxBytes: MAX_BYTES, signal });
  await blobs.promote(staged, key);
  return blobText(blobs, key, index);
}

function memoryText(text: string): DocumentText {
  return {
    length: text.length,
    async *pieces() {
      yield text;
    },
    slice: (start, end) => Promise.resolve(text.slice(start, end)),
  };
}

function blobText(blobs: Pick<BlobStore, 'read'>, key: string, index: PieceIndex): DocumentText {
  return {
    length: index.chars,
    async *pieces() {
      const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
      for await (const block of await blobs.read(key)) {
        const piece = decoder.decode(block, { stream: true });
        if (piece !== '') yield piece;
      }
      decoder.decode();
    },
    async slice(start, end) {
      const { firstChar, startByte, endByte } = index.find(start, end);
      const block = await new Response(await blobs.read(key, { start: startByte, end: endByte })).text();
      return block.slice(start - firstChar, end - firstChar);
    },
  };
}

interface PieceIndex {
  readonly chars: number;
  add(chars: number, bytes: number): void;
  /** The bytes of the whole pieces that hold `[start, end)`, and the place in the text where they begin. */
  find(start: number, end: number): { firstChar: number; startByte: number; endByte: number };
}

/** Where pieces of a text begin, in units and in bytes; pieces of this length at least are told apart. */
const INDEXED_CHARS = 32 * 1024;

function createPieceIndex(): PieceIndex {
  const startChars = [0];
  const startBytes = [0];
  let chars = 0;
  let bytes = 0;
  /** The last piece that begins at `place` or before. */
  const pieceAt = (place: number): number => {
    let [low, high] = [0, startChars.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((startChars[middle] ?? 0) <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  };
  return {
    get chars() {
      return chars;
    },
    add(moreChars, moreBytes) {
      if (chars - (startChars.at(-1) ?? 0) >= INDEXED_CHARS) {
        startChars.push(chars);
        startBytes.push(bytes);
      }
      chars += moreChars;
      bytes += moreBytes;
    },
    find(start, end) {
      const first = pieceAt(start);
      const last = pieceAt(Math.max(start, end - 1));
      return {
        firstChar: startChars[first] ?? 0,
        startByte: startBytes[first] ?? 0,
        endByte: startBytes[last + 1] ?? bytes,
      };
    },
  };
}
