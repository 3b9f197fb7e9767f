/** The text that an extraction left in a file, piece by piece. */
import type { ExtractedFile } from '../contracts/index.ts';

/**
 * Well-formed pieces of some ten thousand characters; together they are the text. Rejects when the file is not UTF-8 or
 * not of the length that was said: what a child leaves is not to be trusted.
 */
export async function* textPieces({
  textPath,
  chars,
}: Pick<ExtractedFile, 'textPath' | 'chars'>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  let left = chars;
  for await (const bytes of Bun.file(textPath).stream()) {
    const piece = decoder.decode(bytes, { stream: true });
    left -= piece.length;
    if (left < 0) break;
    if (piece !== '') yield piece;
  }
  const rest = decoder.decode();
  if (left - rest.length !== 0) throw new Error('an extracted text is not as long as was said');
}
