/** A backup of an embedded installation while its database is written to, restored elsewhere. */
import { afterAll, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackupOptions, backUp, restore } from '../../src/cli/backup.ts';
import { connect } from '../../src/db/database.ts';
import { startEmbeddedDatabase } from '../../src/db/embedded.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createDiskBlobStore } from '../../src/storage/disk-blob-store.ts';
import { eventually } from '../support/eventually.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const closers: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
}, 60_000);

const optionsOf = (dataDir: string): BackupOptions => ({
  environment: { dataDir, databaseUrl: undefined, databaseOwnerUrl: undefined, backupUrl: undefined },
  variables: {},
  blobs: createDiskBlobStore({ root: join(dataDir, 'blobs') }),
  clock: systemClock,
  say: () => undefined,
});

async function open(dataDir: string) {
  const database = await startEmbeddedDatabase({ dataDir, logger: silentLogger });
  closers.push(() => database.stop());
  const sql = connect(database.url, { max: 2, embedded: true });
  closers.push(() => sql.end({ timeout: 5 }));
  const asOwner = <T>(statement: string) =>
    sql.begin(async (tx) => {
      await tx.unsafe('set local role dreamhub_owner');
      return tx.unsafe(statement) as unknown as Promise<T>;
    });
  return { asOwner };
}

test('is of one moment, whole, and stops nobody for good', async () => {
  const [from, to, place] = await Promise.all([temporaryFolder(), temporaryFolder(), temporaryFolder()]);
  for (const folder of [from, to, place]) closers.push(() => folder.remove());
  const source = await open(from.path);
  await source.asOwner('create table written (n int primary key, filling text not null)');
  let committed = 0;
  let going = true;
  const write = async () => {
    for (let n = 1; going; n += 1) {
      await source.asOwner(`insert into written values (${n}, repeat('x', 2000))`);
      committed = n;
    }
  };
  const writing = write();
  await eventually('there is something', () => committed > 20, 60_000);
  const options = optionsOf(from.path);
  await options.blobs.put('originals/t/d', 'the bytes');
  await Bun.write(join(from.path, 'secrets/jwt'), 'a secret');
  const before = committed;
  const backup = join(place.path, 'backup');
  expect(await backUp(backup, options)).toMatchObject({ form: 'embedded', blobs: 1, bytes: 9 });
  const after = committed;
  await eventually('it is written on', () => committed > after + 5, 60_000);
  going = false;
  await writing;
  await expect(backUp(backup, options)).rejects.toThrow('is there already');

  const target = optionsOf(to.path);
  await restore(backup, target);
  await expect(restore(backup, target)).rejects.toThrow('not empty');
  const { asOwner } = await open(to.path);
  const [row] = await asOwner<{ count: number; most: number }[]>(
    'select count(*)::int as count, max(n)::int as most from written',
  );
  // All that was committed before it began is there, and nothing in between is missing.
  expect(row?.count).toBe(row?.most ?? -1);
  expect(row?.count).toBeGreaterThanOrEqual(before);
  expect(row?.count).toBeLessThanOrEqual(committed);
  expect(await new Response(await target.blobs.read('originals/t/d')).text()).toBe('the bytes');
  expect(await Bun.file(join(to.path, 'secrets/jwt')).text()).toBe('a secret');
}, 240_000);

test('that is not whole is not restored, nor one of another form', async () => {
  const [to, place] = await Promise.all([temporaryFolder(), temporaryFolder()]);
  for (const folder of [to, place]) closers.push(() => folder.remove());
  await Bun.write(join(place.path, 'blobs/originals/t/d'), 'x');
  await expect(restore(place.path, optionsOf(to.path))).rejects.toThrow('no whole backup');
  await Bun.write(join(place.path, 'manifest.json'), '{"format": 1, "form": "server"}');
  await expect(restore(place.path, optionsOf(to.path))).rejects.toThrow('of a server');
  await Bun.write(join(place.path, 'manifest.json'), '{"format": 2, "form": "embedded"}');
  await expect(restore(place.path, optionsOf(to.path))).rejects.toThrow('format 2');
  expect(await readdir(to.path)).toEqual([]);
  await expect(backUp(join(place.path, 'nothing'), optionsOf(to.path))).rejects.toThrow('no embedded database');
});
