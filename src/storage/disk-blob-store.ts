/**
 * Blobs as files under one folder: `root/staging` for what is not decided yet, `root/blobs/<key>` for the rest. Both are
 * on one file system, so that promoting is a rename: a reader sees the old blob or the new one, never half of one.
 */
import { mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import type { BlobStore } from '../contracts/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { type Ids, systemIds } from '../kernel/ids.ts';
import { assertBlobKey } from './blob-keys.ts';
import { readFileStream } from './file-stream.ts';
import { createStaging } from './staging.ts';
import { blobNotFound, codeOf, storeUnavailable, toStorageError } from './storage-errors.ts';

export interface SweepableBlobStore extends BlobStore {
  /** Removes staged bytes that nobody promoted or discarded for `olderThanMs`; resolves to how many there were. */
  sweepStaging(olderThanMs: number): Promise<number>;
}

export interface DiskBlobStoreOptions {
  /** The folder that holds everything; created when missing. */
  root: string;
  ids?: Ids;
  clock?: Clock;
}

export function createDiskBlobStore({
  root,
  ids = systemIds,
  clock = systemClock,
}: DiskBlobStoreOptions): SweepableBlobStore {
  const staging = createStaging({ folder: join(root, 'staging'), ids, clock });

  function pathOf(key: string): string {
    const staged = staging.pathOf(key);
    if (staged) return staged;
    assertBlobKey(key);
    return join(root, 'blobs', key);
  }

  /** Makes durable bytes visible; a crash before leaves a file for the sweep. */
  async function publish(from: string, key: string): Promise<void> {
    const to = pathOf(key);
    try {
      try {
        await rename(from, to);
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') throw error;
        await mkdir(dirname(to), { recursive: true });
        await rename(from, to);
      }
      await sync(dirname(to));
    } catch (error) {
      throw toStorageError(error);
    }
  }

  async function sizeOf(path: string): Promise<number> {
    try {
      const found = await stat(path);
      if (found.isFile()) return found.size;
    } catch (error) {
      if (codeOf(error) !== 'ENOTDIR') throw toStorageError(error);
    }
    throw blobNotFound();
  }

  return {
    stage: staging.stage,
    discard: staging.discard,
    sweepStaging: staging.sweep,

    async promote(staged, key) {
      await publish(pathOf(staged.stagingKey), key);
    },

    async put(key, body) {
      let temporary: string | undefined;
      try {
        temporary = await staging.freshPath();
        await writeFile(temporary, body, { mode: 0o600 });
        await sync(temporary);
        await publish(temporary, key);
      } catch (error) {
        // On a full disk what was written so far would keep others out until the sweep.
        if (temporary !== undefined) await forget(temporary);
        throw toStorageError(error);
      }
    },

    async read(key, range) {
      const path = pathOf(key);
      await sizeOf(path);
      return readFileStream(path, range);
    },

    async size(key) {
      return sizeOf(pathOf(key));
    },

    async asFile(key) {
      const path = pathOf(key);
      await sizeOf(path);
      return { path, release: async () => {} };
    },

    async remove(key) {
      await rm(pathOf(key), { force: true });
    },

    async clear(folder) {
      const path = pathOf(folder);
      let count = 0;
      for await (const _ of filesBelow(path)) count += 1;
      await rm(path, { force: true, recursive: true });
      return count;
    },

    async *list() {
      const top = join(root, 'blobs');
      for await (const path of filesBelow(top)) yield relative(top, path).split(sep).join('/');
    },

    async check() {
      try {
        const probe = await staging.freshPath();
        try {
          await writeFile(probe, 'ok');
        } finally {
          await forget(probe);
        }
      } catch (error) {
        throw storeUnavailable(error);
      }
    },
  };
}

/** Where it cannot be removed either, the sweep does it; the caller is told of what came before. */
async function forget(path: string): Promise<void> {
  await rm(path, { force: true }).catch(() => undefined);
}

/** The file itself, or the files in a folder and those in it; one that goes meanwhile is passed over. */
async function* filesBelow(path: string): AsyncGenerator<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) yield path;
  if (!found?.isDirectory()) return;
  for (const name of await readdir(path).catch(() => [] as string[])) yield* filesBelow(join(path, name));
}

/** fsync of a file or a folder. */
async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
