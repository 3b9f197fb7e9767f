/** Colour samples as grey ones: a large page in colour takes more memory to recognise than a child has, and letters need none. */

/** Pixels above which colour goes; a page at 300 dpi has 9 million. */
export const MAX_COLOUR_PIXELS = 12_000_000;

/** Luminance of rows of pixels whose first three samples are red, green and blue, of 8 bits each (ITU-R BT.601). */
export function greyOf(pixels: Uint8Array, samples: number): Uint8Array {
  const grey = new Uint8Array(Math.floor(pixels.length / samples));
  for (let i = 0, at = 0; i < grey.length; i++, at += samples) {
    grey[i] = ((pixels[at] ?? 0) * 77 + (pixels[at + 1] ?? 0) * 150 + (pixels[at + 2] ?? 0) * 29) >> 8;
  }
  return grey;
}
