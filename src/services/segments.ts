/** Cuts a request's body into segments of a bounded size, so that what has arrived can be kept before the rest is there. */
import { withInterrupt } from '../storage/interrupt.ts';

export interface Segments {
  /** The next bytes, at most so many; once it has ended early, every further one is empty. */
  take(most: number): AsyncGenerator<Uint8Array>;
  /** The body broke off: what was taken may not be all that was sent. */
  readonly brokenOff: boolean;
}

/**
 * Runs `fn` over the segments of a body. A body that breaks off, or a signal that aborts, ends the segment with what has
 * arrived instead of failing it.
 */
export async function withSegments<T>(
  body: ReadableStream<Uint8Array>,
  signal: AbortSignal,
  fn: (segments: Segments) => Promise<T>,
): Promise<T> {
  const reader = body.getReader();
  let rest: Uint8Array | undefined;
  let ended = false;
  let brokenOff = false;
  try {
    return await withInterrupt(
      signal,
      ({ reason }) => reason,
      async (interrupt) => {
        async function next(): Promise<Uint8Array | undefined> {
          try {
            const { done, value } = await interrupt.guard(reader.read());
            if (!done) return value;
          } catch {
            // What came before is kept, and the sender told how much that is.
            brokenOff = true;
          }
          ended = true;
          return undefined;
        }
        async function* take(most: number): AsyncGenerator<Uint8Array> {
          for (let left = most; left > 0 && !(ended && rest === undefined); ) {
            const chunk = rest ?? (await next());
            rest = undefined;
            if (chunk === undefined) return;
            if (chunk.length > left) rest = chunk.subarray(left);
            const taken = chunk.subarray(0, left);
            left -= taken.length;
            yield taken;
          }
        }
        return fn({
          take,
          get brokenOff() {
            return brokenOff;
          },
        });
      },
    );
  } finally {
    // Not awaited: a sender that hangs would not answer this either.
    reader.cancel().catch(() => undefined);
  }
}
