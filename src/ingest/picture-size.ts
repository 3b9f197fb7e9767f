/** Whether a picture can be decoded at all within a child's memory, by the size that its header claims. */
import { ExtractError } from './extract-error.ts';

/** A page at 600 dpi has 35 million. */
export const MAX_PIXELS = 40_000_000;
/** Recognition counts in 16 bits. */
const MAX_SIDE = 32_000;
/** Less than a line of letters. */
const MIN_SIDE = 12;

export function isLegible(width: number, height: number): boolean {
  return (
    width >= MIN_SIDE && height >= MIN_SIDE && width <= MAX_SIDE && height <= MAX_SIDE && width * height <= MAX_PIXELS
  );
}

/** Throws `limits_exceeded` for a picture that is too large. */
export function assertDecodable(width: number, height: number): void {
  if (width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS) {
    throw new ExtractError('limits_exceeded', `The picture is too large to be read: ${width} × ${height} pixels.`);
  }
}
