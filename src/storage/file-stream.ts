/** A file as a web stream that reads a block when one is asked for, so that a slow reader costs one block of memory. */
import { type FileHandle, open } from 'node:fs/promises';
import { toStorageError } from './storage-errors.ts';

const BLOCK_BYTES = 256 * 1024;

/** `range` is in bytes, `end` exclusive; beyond the end of the file the stream just ends. The file is opened at once. */
export async function readFileStream(
  path: string,
  range?: { start: number; end: number },
): Promise<ReadableStream<Uint8Array>> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    throw toStorageError(error);
  }
  let position = range?.start ?? 0;
  const end = range?.end ?? Number.POSITIVE_INFINITY;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const wanted = Math.min(BLOCK_BYTES, end - position);
          const block = new Uint8Array(Math.max(wanted, 0));
          const { bytesRead } = wanted > 0 ? await handle.read(block, 0, wanted, position) : { bytesRead: 0 };
          if (bytesRead === 0) {
            await handle.close();
            controller.close();
            return;
          }
          position += bytesRead;
          controller.enqueue(block.subarray(0, bytesRead));
        } catch (error) {
          // The reader is told of the first failure.
          await handle.close().catch(() => {});
          throw error;
        }
      },
      async cancel() {
        await handle.close();
      },
    },
    { highWaterMark: 0 },
  );
}
