/**
 * The body of a request that says that it is small, read as a whole; of any other the stream that it is. A stream costs more
 * than the rest of a small upload together, and what is small may be held.
 */
import { AppError } from '../kernel/errors.ts';
import { stateOf } from './request-state.ts';

/** As much as a connection holds anyway before anybody reads from it. */
const SMALL_BYTES = 65_536;

/** Rejects with `malformed` where the sender leaves in the middle. */
export async function bodyOf(request: Request): Promise<ReadableStream<Uint8Array> | Uint8Array | null> {
  const { bodyTap } = stateOf(request);
  const length = request.headers.get('content-length');
  if (length === null || Number(length) > SMALL_BYTES || request.headers.has('transfer-encoding')) {
    return streamOf(request);
  }
  try {
    const bytes = await request.bytes();
    bodyTap?.(bytes);
    return bytes;
  } catch (cause) {
    throw new AppError('malformed', 'The upload ended before it was complete.', { cause });
  }
}

/** The body as it comes, seen by whoever has to see all of it. */
export function streamOf(request: Request): ReadableStream<Uint8Array> | null {
  const { bodyTap } = stateOf(request);
  return bodyTap && request.body ? tapped(request.body, bodyTap) : request.body;
}

/** The same stream, no faster than it is read. */
function tapped(body: ReadableStream<Uint8Array>, tap: (piece: Uint8Array) => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        tap(value);
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
