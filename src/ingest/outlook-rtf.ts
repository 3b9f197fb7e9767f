/** The body of an Outlook message that is kept as packed rich text. Layout: [MS-OXRTFCP]. */
import { decompressRTF } from '@kenjiuno/decompressrtf';
import { readRtf } from './extractors/rtf.ts';

/** No body is: it would be unpacked number by number. */
const MAX_PACKED_BYTES = 4 * 1024 * 1024;

/** Clean text; empty where it cannot be unpacked, or is no rich text. */
export async function textOfPackedRtf(packed: Uint8Array): Promise<string> {
  if (packed.length > MAX_PACKED_BYTES) return '';
  try {
    const { text } = await readRtf(Buffer.from(decompressRTF([...packed])));
    return text.trim();
  } catch {
    // What is broken here is no reason to lose who wrote, about what, and what is attached.
    return '';
  }
}
