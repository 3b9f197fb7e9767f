import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { lockFile } from '../../../src/kernel/file-lock.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts';

let folder: TemporaryFolder;
let made = 0;

beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

const path = (): string => join(folder.path, `${made++}.lock`);

/** A process that takes the lock, says so, and keeps it until it is killed. */
async function holderOf(file: string) {
  const script = `
    import { lockFile } from '${new URL('../../../src/kernel/file-lock.ts', import.meta.url).href}';
    console.log(lockFile(${JSON.stringify(file)}) ? 'held' : 'refused');
    await Bun.stdin.text();`;
  const child = Bun.spawn([process.execPath, '-e', script], { stdin: 'pipe', stdout: 'pipe' });
  const { value } = await child.stdout.getReader().read();
  return { child, said: new TextDecoder().decode(value).trim() };
}

test('has one holder at a time, inside one process too', () => {
  const file = path();
  const first = lockFile(file);
  expect(first).not.toBeNull();
  expect(lockFile(file)).toBeNull();
  first?.release();
  first?.release();
  const second = lockFile(file);
  expect(second).not.toBeNull();
  second?.release();
});

test('excludes another process', async () => {
  const file = path();
  const lock = lockFile(file);
  const { child, said } = await holderOf(file);
  expect(said).toBe('refused');
  child.kill();
  lock?.release();
});

test('is free as soon as its holder was killed', async () => {
  const file = path();
  const { child, said } = await holderOf(file);
  expect(said).toBe('held');
  expect(lockFile(file)).toBeNull();
  child.kill('SIGKILL');
  await child.exited;
  const lock = lockFile(file);
  expect(lock).not.toBeNull();
  lock?.release();
});

test('says plainly that it cannot be made', () => {
  expect(() => lockFile(join(folder.path, 'missing', 'x.lock'))).toThrow();
});
