/**
 * `make backup TO=folder`: database and blobs, while everything runs. The database is of one moment: `pg_dump` of a server, a copy
 * of the embedded one's files. Blobs are written before the rows that name them and removed after these, so they are copied
 * twice around that moment: before it, and what is new since. Redis is not in it: PostgreSQL has everything that it had, and
 * what was handed out is handed out again (`queue/reconciler.ts`).
 *
 * `make restore FROM=folder`: into an installation that is empty, of the same form. Nothing there is overwritten.
 */
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { BlobStore } from '../contracts/index.ts';
import { copyEmbeddedDatabase, placeEmbeddedDatabase } from '../db/embedded-copy.ts';
import { assertEmptyDatabase, prepareRoles } from '../db/migrate.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';

export interface BackupEnvironment {
  dataDir: string;
  /** Undefined: the embedded database. */
  databaseUrl: string | undefined;
  databaseOwnerUrl: string | undefined;
  /** A login that row-level security does not bind; default: the owner's. */
  backupUrl: string | undefined;
}

export interface BackupOptions {
  environment: BackupEnvironment;
  /** Of the process, for the programs of PostgreSQL: `PATH`, and what `libpq` reads. */
  variables: Readonly<Record<string, string | undefined>>;
  blobs: BlobStore;
  clock: Clock;
  say(line: string): void;
}

interface Manifest {
  format: 1;
  form: 'embedded' | 'server';
  created_at: string;
  blobs: number;
  bytes: number;
}

const DUMP = 'database.dump';

/** The newest that Debian's packages have put somewhere, else the one that `PATH` names: it must not be older than the server. */
async function find(program: string, path: string | undefined): Promise<string> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [] as string[]);
  const places = versions.toSorted((x, y) => Number(y) - Number(x)).map((one) => `/usr/lib/postgresql/${one}/bin`);
  const found = Bun.which(program, { PATH: [path ?? '', ...places].join(':') });
  if (found !== null) return found;
  throw new AppError(
    'unavailable',
    `${program} is not installed: \`apt-get install postgresql-client\`, of the server's version or newer.`,
  );
}

/** Its password goes by the environment: arguments can be seen by everybody on the machine. The dump goes by its pipes. */
async function run(
  program: 'pg_dump' | 'pg_restore',
  { environment, variables }: BackupOptions,
  args: readonly string[],
  file: string,
): Promise<void> {
  const address = new URL(addressOf(environment));
  const password = decodeURIComponent(address.password);
  address.password = '';
  const command = [await find(program, variables['PATH']), '--no-password', `--dbname=${address.href}`, ...args];
  const child = Bun.spawn(command, {
    stdin: program === 'pg_dump' ? 'ignore' : Bun.file(file),
    stdout: program === 'pg_dump' ? Bun.file(file) : 'ignore',
    stderr: 'pipe',
    env: { ...variables, ...(password !== '' && { PGPASSWORD: password }) },
  });
  const said = await new Response(child.stderr).text();
  if ((await child.exited) === 0) return;
  const hint = /row-level security|row security/.test(said)
    ? ' Give BACKUP_DATABASE_URL a login with SUPERUSER or BYPASSRLS: no other sees all tenants’ rows.'
    : '';
  throw new AppError('unavailable', `${program} failed: ${said.trim()}${hint}`);
}

function addressOf({ databaseOwnerUrl, databaseUrl, backupUrl }: BackupEnvironment): string {
  const url = backupUrl ?? databaseOwnerUrl ?? databaseUrl;
  if (url === undefined) throw new AppError('internal', 'The embedded database has no address.');
  return url;
}

/** Copies blobs that are not in the folder yet, or have another size there. One that goes meanwhile is passed over. */
async function copyBlobs(blobs: BlobStore, folder: string): Promise<void> {
  for await (const key of blobs.list()) {
    const path = join(folder, key);
    try {
      if (existsSync(path) && Bun.file(path).size === (await blobs.size(key))) continue;
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      const unfinished = `${path}.new`;
      const writer = Bun.file(unfinished).writer();
      for await (const block of await blobs.read(key)) {
        writer.write(block);
        await writer.flush();
      }
      await writer.end();
      await rename(unfinished, path);
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'not_found')) throw error;
    }
  }
}

async function* filesOf(folder: string): AsyncGenerator<string> {
  if (!existsSync(folder)) return;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory())
      for await (const inner of filesOf(join(folder, entry.name))) yield `${entry.name}/${inner}`;
    else yield entry.name;
  }
}

/** Into `to`, which is not there yet; it appears under its name once it is whole. */
export async function backUp(to: string, options: BackupOptions): Promise<Manifest> {
  const { environment, blobs, clock, say } = options;
  const target = resolve(to);
  if (existsSync(target)) throw new AppError('conflict', `${target} is there already.`);
  const folder = `${target}.unfinished`;
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const embedded = environment.databaseUrl === undefined;
  say('blobs …');
  await copyBlobs(blobs, join(folder, 'blobs'));
  say('database …');
  if (embedded) {
    await copyEmbeddedDatabase(environment.dataDir, join(folder, 'postgres'));
    // Without them sealed secrets stay sealed, and everybody has to log in again.
    const secrets = join(environment.dataDir, 'secrets');
    if (existsSync(secrets)) await cp(secrets, join(folder, 'secrets'), { recursive: true });
  } else {
    await run('pg_dump', options, ['--format=custom', '--schema=public'], join(folder, DUMP));
  }
  say('blobs that are new since …');
  await copyBlobs(blobs, join(folder, 'blobs'));
  const manifest: Manifest = {
    format: 1,
    form: embedded ? 'embedded' : 'server',
    created_at: new Date(clock.now()).toISOString(),
    blobs: 0,
    bytes: 0,
  };
  for await (const name of filesOf(join(folder, 'blobs'))) {
    manifest.blobs += 1;
    manifest.bytes += Bun.file(join(folder, 'blobs', name)).size;
  }
  await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  await rename(folder, target);
  say(`${manifest.blobs} blobs, ${manifest.bytes} bytes of them, are in ${target} with the database.`);
  return manifest;
}

export async function restore(from: string, options: BackupOptions): Promise<void> {
  const { environment, blobs, say } = options;
  const folder = resolve(from);
  const text = await readFile(join(folder, 'manifest.json'), 'utf8').catch(() => '');
  if (text === '') throw new AppError('not_found', `There is no whole backup in ${folder}.`);
  const { format, form } = JSON.parse(text) as Manifest;
  if (format !== 1) throw new AppError('conflict', `The backup has format ${format}: use the version that made it.`);
  const embedded = environment.databaseUrl === undefined;
  if (embedded !== (form === 'embedded')) {
    throw new AppError(
      'conflict',
      `The backup is of ${form === 'embedded' ? 'an embedded database' : 'a server'}: restore it into one.`,
    );
  }
  for await (const _ of blobs.list())
    throw new AppError('conflict', 'The blob store is not empty: give BLOB_URL another place.');
  if (!embedded) await assertEmptyDatabase(addressOf(environment));
  // Blobs first: rows without them would promise what is not there.
  say('blobs …');
  for await (const key of filesOf(join(folder, 'blobs'))) {
    const body = Bun.file(join(folder, 'blobs', key)).stream();
    await blobs.promote(await blobs.stage(body, { maxBytes: Number.POSITIVE_INFINITY }), key);
  }
  say('database …');
  if (embedded) {
    await placeEmbeddedDatabase(join(folder, 'postgres'), environment.dataDir);
    const secrets = join(folder, 'secrets');
    if (existsSync(secrets)) await cp(secrets, join(environment.dataDir, 'secrets'), { recursive: true });
  } else {
    await prepareRoles(addressOf(environment));
    // What the dump says of the schema itself is there already.
    await run(
      'pg_restore',
      options,
      ['--exit-on-error', '--single-transaction', '--schema=public'],
      join(folder, DUMP),
    );
  }
  say('Restored. Start DreamHub with an empty Redis: what was under way goes on.');
}
