/**
 * Blobs as objects of one S3 bucket (or of anything that speaks its protocol). Bytes are staged on this machine's disk,
 * where they are sniffed and scanned, and uploaded when they are promoted: an object appears whole or not at all, and
 * what was refused never leaves the machine.
 */
import { rm } from 'node:fs/promises';
import { S3Client } from 'bun';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import { type Ids, systemIds } from '../kernel/ids.ts';
import { assertBlobKey, BLOB_FOLDERS } from './blob-keys.ts';
import type { SweepableBlobStore } from './disk-blob-store.ts';
import { readFileStream } from './file-stream.ts';
import { createStaging } from './staging.ts';
import { blobNotFound, codeOf, storeUnavailable } from './storage-errors.ts';

export interface S3BlobStoreOptions {
  /** `s3://bucket?endpoint=https://…&region=…`; without an endpoint, Amazon's. A path becomes a prefix of every key. */
  url: string;
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
  /** Folder on this machine for what is not decided yet; created when missing. */
  stagingFolder: string;
  ids?: Ids;
  clock?: Clock;
}

/** Of uploads in parts: large enough for few requests, small enough for flat memory. */
const PART_BYTES = 8 * 1024 * 1024;
const RETRIES = 3;

export function createS3BlobStore({
  url,
  accessKeyId,
  secretAccessKey,
  sessionToken,
  stagingFolder,
  ids = systemIds,
  clock = systemClock,
}: S3BlobStoreOptions): SweepableBlobStore {
  const { bucket, prefix, endpoint, region } = parseS3Url(url);
  const client = new S3Client({
    bucket,
    accessKeyId,
    secretAccessKey,
    ...(sessionToken && { sessionToken }),
    ...(endpoint && { endpoint }),
    ...(region && { region }),
  });
  const staging = createStaging({ folder: stagingFolder, ids, clock });

  function objectOf(key: string) {
    assertBlobKey(key);
    return client.file(`${prefix}${key}`);
  }

  async function sizeOf(key: string): Promise<number> {
    try {
      return (await objectOf(key).stat()).size;
    } catch (error) {
      throw toS3Error(error);
    }
  }

  /** Names of objects that begin so, a page at a time; each page is read before its objects may be deleted. */
  async function* objectsBelow(beginning: string): AsyncGenerator<string> {
    for (let token: string | undefined, more = true; more; ) {
      const page = await client
        .list({ prefix: beginning, ...(token !== undefined && { continuationToken: token }) })
        .catch((error: unknown) => {
          throw toS3Error(error);
        });
      for (const { key } of page.contents ?? []) yield key;
      token = page.nextContinuationToken;
      more = token !== undefined;
    }
  }

  async function upload(path: string, key: string): Promise<void> {
    const writer = objectOf(key).writer({ partSize: PART_BYTES, queueSize: 2, retry: RETRIES });
    try {
      for await (const block of await readFileStream(path)) {
        writer.write(block);
        await writer.flush();
      }
      await writer.end();
    } catch (error) {
      throw toS3Error(error);
    }
  }

  async function read(key: string, range?: { start: number; end: number }): Promise<ReadableStream<Uint8Array>> {
    const local = staging.pathOf(key);
    if (local) return readFileStream(local, range);
    const size = await sizeOf(key);
    const start = Math.min(range?.start ?? 0, size);
    const end = Math.min(range?.end ?? size, size);
    if (start >= end) return new Blob([]).stream();
    return (range ? objectOf(key).slice(start, end) : objectOf(key)).stream();
  }

  return {
    stage: staging.stage,
    discard: staging.discard,
    sweepStaging: staging.sweep,
    read,

    async promote(staged, key) {
      const path = staging.pathOf(staged.stagingKey);
      if (!path) throw new AppError('internal', 'That is not a staging key.');
      await upload(path, key);
      await staging.discard(staged);
    },

    async put(key, body) {
      try {
        await objectOf(key).write(body, { retry: RETRIES });
      } catch (error) {
        throw toS3Error(error);
      }
    },

    async size(key) {
      const local = staging.pathOf(key);
      return local ? Bun.file(local).size : sizeOf(key);
    },

    async asFile(key) {
      const local = staging.pathOf(key);
      if (local) return { path: local, release: async () => {} };
      const staged = await staging.stage(iterate(await read(key)), { maxBytes: Number.POSITIVE_INFINITY });
      const path = staging.pathOf(staged.stagingKey) ?? '';
      return { path, release: () => rm(path, { force: true }) };
    },

    async remove(key) {
      try {
        await objectOf(key).delete();
      } catch (error) {
        if (codeOf(error) !== 'NoSuchKey') throw toS3Error(error);
      }
    },

    async clear(folder) {
      const { name = '' } = objectOf(folder);
      let count = 0;
      for await (const key of objectsBelow(name)) {
        if (key !== name && !key.startsWith(`${name}/`)) continue;
        await client.file(key).delete();
        count += 1;
      }
      return count;
    },

    async *list() {
      // Others may keep what is theirs in the same bucket, and a check its probe.
      for (const folder of BLOB_FOLDERS) {
        for await (const key of objectsBelow(`${prefix}${folder}/`)) yield key.slice(prefix.length);
      }
    },

    async check() {
      const probe = objectOf(`probes/${ids.uuid()}`);
      try {
        await probe.write('ok');
        await probe.delete();
      } catch (error) {
        throw storeUnavailable(error);
      }
    },
  };
}

export function parseS3Url(url: string) {
  const parsed = new URL(url);
  if (parsed.protocol !== 's3:' || !parsed.hostname)
    throw new RangeError('a blob URL looks like s3://bucket?endpoint=…');
  const path = parsed.pathname.replace(/^\/+|\/+$/g, '');
  return {
    bucket: parsed.hostname,
    prefix: path ? `${path}/` : '',
    endpoint: parsed.searchParams.get('endpoint'),
    region: parsed.searchParams.get('region'),
  };
}

async function* iterate(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) yield chunk;
}

/** Whatever else a bucket says than that there is no such object, it may say otherwise later. */
function toS3Error(error: unknown): unknown {
  if (error instanceof AppError) return error;
  const code = codeOf(error);
  if (code === 'NoSuchKey' || code === 'NotFound') return blobNotFound(error);
  return storeUnavailable(error);
}
