/** Bodies of `multipart/form-data` as senders make them, good and bad, byte by byte. */
export interface Part {
  /** Whole value of `Content-Disposition`, e.g. `form-data; name="title"`. */
  disposition: string;
  type?: string;
  content: string | Uint8Array;
}

export const BOUNDARY = '----dreamhub-test-boundary';
export const CONTENT_TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

export const field = (name: string, content: string): Part => ({ disposition: `form-data; name="${name}"`, content });
export const file = (filename: string, content: string | Uint8Array): Part => ({
  disposition: `form-data; name="file"; filename="${filename}"`,
  type: 'application/octet-stream',
  content,
});

export function multipartBytes(parts: readonly Part[]): Uint8Array {
  const pieces: Uint8Array[] = [];
  const text = (value: string) => pieces.push(new TextEncoder().encode(value));
  for (const part of parts) {
    text(`--${BOUNDARY}\r\nContent-Disposition: ${part.disposition}\r\n`);
    text(part.type ? `Content-Type: ${part.type}\r\n\r\n` : '\r\n');
    if (typeof part.content === 'string') text(part.content);
    else pieces.push(part.content);
    text('\r\n');
  }
  text(`--${BOUNDARY}--\r\n`);
  return Buffer.concat(pieces);
}

/** The bytes as a stream in pieces of `size`; then it ends, fails, or hangs. */
export function streamOf(
  bytes: Uint8Array,
  { size = 1000, ending = 'end' }: { size?: number; ending?: 'end' | 'fail' | 'hang' } = {},
): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at < bytes.length) {
        controller.enqueue(bytes.slice(at, at + size));
        at += size;
      } else if (ending === 'end') controller.close();
      else if (ending === 'fail') controller.error(new Error('connection reset'));
      else return new Promise(() => {});
    },
  });
}
