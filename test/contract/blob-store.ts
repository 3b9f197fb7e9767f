/** What every blob store must do. A driver's own test file calls this with a factory. */
import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import type { BlobStore } from '../../src/contracts/index.ts';
import { AppError } from '../../src/kernel/errors.ts';

export interface BlobStoreFixture {
  store: BlobStore;
  /** How many files wait in staging. */
  staged(): Promise<number>;
  close(): Promise<void>;
}

export function describeBlobStore(name: string, open: () => Promise<BlobStoreFixture>): void {
  describe(`blob store: ${name}`, () => {
    let fixture: BlobStoreFixture;
    let store: BlobStore;
    beforeEach(async () => {
      fixture = await open();
      store = fixture.store;
    });
    afterEach(() => fixture.close());

    const limits = { maxBytes: 32 * 1024 * 1024 };
    const key = 'originals/t1/d1';

    test('stages bytes with their size, hash and head, and promotes them to a key', async () => {
      const bytes = pattern(200_000);
      const staged = await store.stage(slices(bytes, 7_777), limits);
      expect(staged.size).toBe(bytes.length);
      expect(staged.sha256).toBe(new Bun.CryptoHasher('sha256').update(bytes).digest('hex'));
      expect(staged.head).toEqual(bytes.slice(0, 65_536));
      expect(await fixture.staged()).toBe(1);
      await store.promote(staged, key);
      expect(await fixture.staged()).toBe(0);
      expect(await bytesOf(store, key)).toEqual(bytes);
      expect(await store.size(key)).toBe(bytes.length);
    });

    test('moves a file of several parts whole', async () => {
      const bytes = pattern(11 * 1024 * 1024);
      await store.promote(await store.stage(slices(bytes, 1_000_003), limits), key);
      expect(Buffer.compare(await bytesOf(store, key), bytes)).toBe(0);
    });

    test('keeps an empty blob', async () => {
      await store.promote(await store.stage(slices(new Uint8Array(), 1), limits), key);
      expect(await store.size(key)).toBe(0);
      expect(await bytesOf(store, key)).toEqual(new Uint8Array());
    });

    test('refuses more bytes than allowed and keeps none of them', async () => {
      const tooMany = store.stage(slices(pattern(1001), 100), { maxBytes: 1000 });
      expect(await kindOf(tooMany)).toBe('payload_too_large');
      expect(await fixture.staged()).toBe(0);
    });

    test('takes exactly as many bytes as allowed', async () => {
      const staged = await store.stage(slices(pattern(1000), 100), { maxBytes: 1000 });
      expect(staged.size).toBe(1000);
    });

    test('keeps nothing of a body that fails halfway, and passes its error on', async () => {
      async function* broken() {
        yield pattern(5000);
        throw new Error('the line is dead');
      }
      await expect(store.stage(broken(), limits)).rejects.toThrow('the line is dead');
      expect(await fixture.staged()).toBe(0);
    });

    test('lets go of a hanging body when the signal aborts', async () => {
      const controller = new AbortController();
      async function* hanging() {
        yield pattern(5000);
        controller.abort(new Error('client gone'));
        await new Promise(() => {});
      }
      const staging = store.stage(hanging(), { ...limits, signal: controller.signal });
      await expect(staging).rejects.toThrow('client gone');
      expect(await fixture.staged()).toBe(0);
    });

    test('forgets what is discarded, twice too', async () => {
      const staged = await store.stage(slices(pattern(10), 10), limits);
      await store.discard(staged);
      await store.discard(staged);
      expect(await fixture.staged()).toBe(0);
    });

    test('lends staged bytes as a file before they are promoted', async () => {
      const staged = await store.stage(slices(pattern(500), 100), limits);
      const file = await store.asFile(staged.stagingKey);
      expect(await Bun.file(file.path).bytes()).toEqual(pattern(500));
      await file.release();
    });

    test('overwrites a key as a whole', async () => {
      await store.put(key, 'first, and longer');
      await store.put(key, '第二');
      expect(new TextDecoder().decode(await bytesOf(store, key))).toBe('第二');
      await store.promote(await store.stage(slices(pattern(3), 3), limits), key);
      expect(await bytesOf(store, key)).toEqual(pattern(3));
    });

    test('reads a range, clipped at the end of the blob', async () => {
      await store.put(key, pattern(1000));
      const whole = pattern(1000);
      expect(await bytesOf(store, key, { start: 10, end: 20 })).toEqual(whole.slice(10, 20));
      expect(await bytesOf(store, key, { start: 990, end: 5000 })).toEqual(whole.slice(990));
    });

    test('survives a reader that leaves early', async () => {
      await store.put(key, pattern(2_000_000));
      const reader = (await store.read(key)).getReader();
      await reader.read();
      await reader.cancel();
      expect(await store.size(key)).toBe(2_000_000);
    });

    test('lends a blob as a local file', async () => {
      await store.put(key, 'for a parser');
      const file = await store.asFile(key);
      expect(await Bun.file(file.path).text()).toBe('for a parser');
      await file.release();
      expect(new TextDecoder().decode(await bytesOf(store, key))).toBe('for a parser');
    });

    test('says not_found for what is not there, and after removing', async () => {
      expect(await kindOf(store.read('originals/t1/none'))).toBe('not_found');
      expect(await kindOf(store.size('originals/t1/none'))).toBe('not_found');
      expect(await kindOf(store.asFile('originals/t1/none'))).toBe('not_found');
      await store.put(key, 'x');
      await store.remove(key);
      await store.remove(key);
      expect(await kindOf(store.size(key))).toBe('not_found');
    });

    test('lists what is there, and clears a folder or one blob without its neighbours', async () => {
      const keys = ['texts/t1/d1/v1', 'texts/t1/d1/v2', 'texts/t1/d10/v1', 'originals/t1/d1', 'originals/t10/d1'];
      for (const one of keys) await store.put(one, one);
      await store.discard(await store.stage(slices(pattern(10), 10), limits));
      expect((await Array.fromAsync(store.list())).toSorted()).toEqual(keys.toSorted());
      expect(await store.clear('texts/t1/d1')).toBe(2);
      expect(await store.clear('originals/t1/d1')).toBe(1);
      expect(await store.clear('uploads/t1')).toBe(0);
      expect((await Array.fromAsync(store.list())).toSorted()).toEqual(['originals/t10/d1', 'texts/t1/d10/v1']);
      expect(await kindOf(store.clear('../t1'))).toBe('internal');
    });

    test('refuses keys that could climb out of their folder', async () => {
      for (const bad of [
        '../etc/passwd',
        'a/../b',
        '/etc/passwd',
        'a//b',
        'a/.hidden',
        'a/b\0c',
        'a\\b/c',
        '',
        'flat',
      ]) {
        expect(await kindOf(store.put(bad, 'x'))).toBe('internal');
        expect(await kindOf(store.read(bad))).toBe('internal');
        expect(await kindOf(store.remove(bad))).toBe('internal');
      }
      expect(await kindOf(store.asFile('staging/../../secret'))).toBe('internal');
    });

    test('keeps concurrent uploads apart', async () => {
      const sizes = Array.from({ length: 12 }, (_, i) => 1000 + i * 997);
      await Promise.all(
        sizes.map(async (size) =>
          store.promote(await store.stage(slices(pattern(size), 311), limits), `originals/t1/c${size}`),
        ),
      );
      for (const size of sizes) expect(await bytesOf(store, `originals/t1/c${size}`)).toEqual(pattern(size));
      expect(await fixture.staged()).toBe(0);
    });

    test('reports that it can be written', async () => {
      await store.check();
    });
  });
}

export function pattern(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  return bytes;
}

export async function* slices(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function bytesOf(store: BlobStore, key: string, range?: { start: number; end: number }): Promise<Uint8Array> {
  return new Uint8Array(await new Response(await store.read(key, range)).arrayBuffer());
}

/** The kind of the `AppError` a promise rejects with; fails the test when it resolves or throws anything else. */
export async function kindOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof AppError)) throw new Error(`expected an AppError, got ${String(error)}`);
  return error.kind;
}
