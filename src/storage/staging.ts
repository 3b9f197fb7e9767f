/**
 * The staging area: a folder on this machine where bytes wait until somebody decided what they are. It is local for
 * every driver, because sniffing, scanning and parsing want a file, and what is refused should never reach a bucket.
 *
 * A staged file is written once (open → bytes → closed), then promoted or discarded by its owner. What a crash leaves
 * behind belongs to nobody, and `sweep` removes it by age.
 */
import type { FileHandle } from 'node:fs/promises';
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { StagedBlob } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import { type Interrupt, withInterrupt } from './interrupt.ts';
import { codeOf, toStorageError } from './storage-errors.ts';

const HEAD_BYTES = 64 * 1024;
const PREFIX = 'staging/';

export interface Staging {
  stage(body: AsyncIterable<Uint8Array>, options: { maxBytes: number; signal?: AbortSignal }): Promise<StagedBlob>;
  discard(staged: StagedBlob): Promise<void>;
  /** Where a staging key's bytes are, `undefined` for any other key. */
  pathOf(key: string): string | undefined;
  /** A path in the staging folder that nothing uses yet. */
  freshPath(): Promise<string>;
  /** Removes what was last written more than `olderThanMs` ago; resolves to how many files that were. */
  sweep(olderThanMs: number): Promise<number>;
}

export interface StagingOptions {
  /** The folder; created when missing. */
  folder: string;
  ids: Ids;
  clock: Clock;
}

function startHead(first: Uint8Array): Uint8Array {
  const head = new Uint8Array(HEAD_BYTES);
  head.set(first);
  return head;
}

export function createStaging({ folder, ids, clock }: StagingOptions): Staging {
  async function freshPath(): Promise<string> {
    await mkdir(folder, { recursive: true });
    return join(folder, ids.uuid());
  }

  /** The folder is there but for the first time. */
  async function openFresh(path: string): Promise<FileHandle> {
    try {
      return await open(path, 'wx', 0o600);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      await mkdir(folder, { recursive: true });
      return open(path, 'wx', 0o600);
    }
  }

  function pathOf(key: string): string | undefined {
    if (!key.startsWith(PREFIX)) return undefined;
    const name = key.slice(PREFIX.length);
    if (!/^[0-9a-f-]+$/i.test(name)) throw new AppError('internal', 'That is not a staging key.');
    return join(folder, name);
  }

  async function write(file: FileHandle, chunk: Uint8Array): Promise<void> {
    for (let offset = 0; offset < chunk.length; ) {
      offset += (await file.write(chunk, offset, chunk.length - offset)).bytesWritten;
    }
  }

  async function copy(
    body: AsyncIterable<Uint8Array>,
    stagingKey: string,
    file: FileHandle,
    maxBytes: number,
    interrupt: Interrupt,
  ): Promise<StagedBlob> {
    const hash = new Bun.CryptoHasher('sha256');
    // Most files come in one piece; only others need room to put their first pieces together.
    let first: Uint8Array | undefined;
    let head: Uint8Array | undefined;
    let size = 0;
    const source = body[Symbol.asyncIterator]();
    try {
      // The next chunk is asked for only when this one is on disk: that pause is the back-pressure on the sender.
      while (true) {
        const next = await interrupt.guard(source.next());
        if (next.done) break;
        const chunk = next.value;
        if (size + chunk.length > maxBytes) {
          throw new AppError('payload_too_large', `The file is larger than the ${maxBytes} bytes allowed.`);
        }
        if (first === undefined) {
          first = chunk.slice(0, HEAD_BYTES);
        } else if (size < HEAD_BYTES) {
          head ??= startHead(first);
          head.set(chunk.subarray(0, HEAD_BYTES - size), size);
        }
        hash.update(chunk);
        await write(file, chunk);
        size += chunk.length;
      }
      const start = head?.slice(0, Math.min(size, HEAD_BYTES)) ?? first ?? new Uint8Array();
      return { stagingKey, size, sha256: hash.digest('hex'), head: start };
    } catch (error) {
      // Not awaited: a source that hangs (the reason for most aborts) would not answer this either.
      Promise.resolve(source.return?.()).catch(() => {});
      throw error;
    }
  }

  async function stage(
    body: AsyncIterable<Uint8Array>,
    { maxBytes, signal }: { maxBytes: number; signal?: AbortSignal },
  ): Promise<StagedBlob> {
    signal?.throwIfAborted();
    const stagingKey = `${PREFIX}${ids.uuid()}`;
    const path = join(folder, stagingKey.slice(PREFIX.length));
    let file: FileHandle | undefined;
    try {
      const handle = await openFresh(path);
      file = handle;
      const staged = await withInterrupt(
        signal,
        ({ reason }) => reason,
        (interrupt) => copy(body, stagingKey, handle, maxBytes, interrupt),
      );
      // Durable before anybody is told of it; whoever promotes it then only renames.
      await handle.sync();
      await handle.close();
      return staged;
    } catch (error) {
      // The caller is told of the first failure.
      await file?.close().catch(() => {});
      await rm(path, { force: true });
      throw toStorageError(error);
    }
  }

  return {
    stage,
    pathOf,
    freshPath,
    async discard(staged) {
      const path = pathOf(staged.stagingKey);
      if (path) await rm(path, { force: true });
    },
    async sweep(olderThanMs) {
      // No folder yet: nothing was ever staged.
      const names = await readdir(folder).catch(() => [] as string[]);
      const before = clock.now() - olderThanMs;
      let removed = 0;
      for (const name of names) {
        const path = join(folder, name);
        // Gone meanwhile: promoted or discarded.
        const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
        if (mtimeMs > before) continue;
        await rm(path, { force: true, recursive: true });
        removed += 1;
      }
      return removed;
    },
  };
}
