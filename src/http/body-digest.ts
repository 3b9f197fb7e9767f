/**
 * SHA-256 of a request's body, piece by piece. A form's boundary is drawn anew each time it is sent, so it is left out: the
 * same form gives the same digest.
 */
import { createHash } from 'node:crypto';

export interface BodyDigest {
  update(piece: Uint8Array): void;
  digest(): Uint8Array;
}

const BOUNDARY = /^multipart\/[\w-]+\s*;(?:.*;)?\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i;

export function createBodyDigest(contentType: string): BodyDigest {
  const hash = createHash('sha256');
  const match = BOUNDARY.exec(contentType);
  const boundary = match?.[1] ?? match?.[2];
  hash.update(`${(contentType.split(';')[0] ?? '').trim().toLowerCase()}\n`);
  if (boundary === undefined) return { update: (piece) => void hash.update(piece), digest: () => hash.digest() };

  const wanted = Buffer.from(boundary);
  /** The end of what came so far, where a boundary may have begun. */
  let rest: Buffer = Buffer.alloc(0);
  return {
    update(piece) {
      const bytes =
        rest.length > 0 ? Buffer.concat([rest, piece]) : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
      let from = 0;
      for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, from)) {
        hash.update(bytes.subarray(from, at));
        from = at + wanted.length;
      }
      const keep = Math.max(from, bytes.length - wanted.length + 1);
      hash.update(bytes.subarray(from, keep));
      // Copied: the piece is its sender's again.
      rest = Buffer.from(bytes.subarray(keep));
    },
    digest: () => hash.update(rest).digest(),
  };
}
