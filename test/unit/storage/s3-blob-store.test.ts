import { expect, test } from 'bun:test';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createS3BlobStore, parseS3Url } from '../../../src/storage/s3-blob-store.ts';
import { describeBlobStore, kindOf, pattern, slices } from '../../contract/blob-store.ts';
import { startS3Stub } from '../../support/documents-s3.ts';

async function open() {
  const server = startS3Stub();
  const stagingFolder = await mkdtemp(join(tmpdir(), 'dreamhub-s3-'));
  const { endpoint, bucket, accessKeyId, secretAccessKey } = server;
  const url = `s3://${bucket}/tenants?endpoint=${encodeURIComponent(endpoint)}`;
  return {
    server,
    store: createS3BlobStore({ url, accessKeyId, secretAccessKey, stagingFolder }),
    staged: async () => (await readdir(stagingFolder)).length,
    async close() {
      await server.stop();
      await rm(stagingFolder, { recursive: true, force: true });
    },
  };
}

describeBlobStore('S3', open);

test('uploads a large file in parts, under its prefix, and leaves no upload open', async () => {
  const { server, store, close } = await open();
  await store.promote(await store.stage(slices(pattern(20_000_000), 65_536), { maxBytes: 2e7 }), 'originals/t/d');
  expect([...server.objects.keys()]).toEqual(['tenants/originals/t/d']);
  expect(server.log.filter((entry) => entry === 'PUT part').length).toBe(3);
  expect(server.openUploads).toBe(0);
  await close();
});

test('says unavailable while the bucket cannot be reached, and keeps what was staged for another try', async () => {
  const { server, store, staged, close } = await open();
  const blob = await store.stage(slices(pattern(100), 100), { maxBytes: 100 });
  server.fail(503);
  expect(await kindOf(store.promote(blob, 'originals/t/d'))).toBe('unavailable');
  expect(await kindOf(store.put('texts/t/d/v1', 'x'))).toBe('unavailable');
  expect(await kindOf(store.size('texts/t/d/v1'))).toBe('unavailable');
  expect(await kindOf(store.check())).toBe('unavailable');
  expect(await staged()).toBe(1);
  server.fail(undefined);
  await store.promote(blob, 'originals/t/d');
  expect(await store.size('originals/t/d')).toBe(100);
  await close();
});

test('reads its URL', () => {
  expect(parseS3Url('s3://b')).toEqual({ bucket: 'b', prefix: '', endpoint: null, region: null });
  expect(parseS3Url('s3://b/a/c/?endpoint=http%3A%2F%2Fx%3A9000&region=eu-1')).toEqual({
    bucket: 'b',
    prefix: 'a/c/',
    endpoint: 'http://x:9000',
    region: 'eu-1',
  });
  expect(() => parseS3Url('http://b')).toThrow(RangeError);
});
