import { expect, test } from 'bun:test';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runAs } from '../../../src/kernel/context.ts';
import { originalKey, textKey } from '../../../src/storage/blob-keys.ts';
import { createDiskBlobStore } from '../../../src/storage/disk-blob-store.ts';
import { describeBlobStore, kindOf, pattern, slices } from '../../contract/blob-store.ts';

async function open() {
  const root = await mkdtemp(join(tmpdir(), 'dreamhub-blobs-'));
  return {
    root,
    store: createDiskBlobStore({ root }),
    staged: async () => (await readdir(join(root, 'staging')).catch(() => [])).length,
    close: () => rm(root, { recursive: true, force: true }),
  };
}

describeBlobStore('disk', open);

test('sweeps what was left in staging for too long, and nothing younger', async () => {
  const { root, store, staged, close } = await open();
  await store.stage(slices(pattern(10), 10), { maxBytes: 100 });
  const old = join(root, 'staging', 'left-by-a-crash');
  await writeFile(old, 'x');
  await utimes(old, new Date(), new Date(Date.now() - 2 * 3_600_000));
  expect(await staged()).toBe(2);
  expect(await store.sweepStaging(3_600_000)).toBe(1);
  expect(await staged()).toBe(1);
  await close();
});

test('says unavailable when its folder cannot be made', async () => {
  const { root, close } = await open();
  const blocked = join(root, 'a-file');
  await writeFile(blocked, '');
  const store = createDiskBlobStore({ root: blocked });
  expect(await kindOf(store.check())).toBe('unavailable');
  await close();
});

test('builds keys from the ambient tenant, and none outside a scope', () => {
  const scope = { tenantId: '0199a5e2-0000-7000-8000-000000000001', userId: 'u', traceId: 't' };
  runAs(scope, () => {
    expect(originalKey('d')).toBe(`originals/${scope.tenantId}/d`);
    expect(textKey('d', 3)).toBe(`texts/${scope.tenantId}/d/v3`);
  });
  expect(() => originalKey('d')).toThrow('scope');
});
