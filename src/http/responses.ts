/** Answers that are not JSON. */

/** 204, once the work is done. */
export async function noContent(work: Promise<void>): Promise<Response> {
  await work;
  return new Response(null, { status: 204 });
}

/** UTF-8. */
export function plainText(text: ReadableStream<Uint8Array>): Response {
  return new Response(text, { headers: { 'content-type': 'text/plain; charset=utf-8' } });
}

/** Encoded beyond what `encodeURIComponent` does: RFC 5987 allows none of these. */
function encodeExtended(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** `Content-Disposition` by RFC 6266: an ASCII name for old clients, and the real one by RFC 5987. */
export function attachmentDisposition(filename: string): string {
  const ascii = filename.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encodeExtended(filename)}`;
}

export interface Attachment {
  stream: ReadableStream<Uint8Array>;
  filename: string;
  mediaType: string;
  size: number;
}

/** Bytes that somebody uploaded: saved, never shown, so that they cannot act as a page of ours. */
export function attachment({ stream, filename, mediaType, size }: Attachment): Response {
  return new Response(stream, {
    headers: {
      'content-type': mediaType,
      'content-length': String(size),
      'content-disposition': attachmentDisposition(filename),
      'x-content-type-options': 'nosniff',
    },
  });
}
