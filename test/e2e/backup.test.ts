/**
 * A backup that is made while documents come in, restored elsewhere beside an empty Redis: it is of one moment, what was under
 * way then goes on by itself, and nothing that was there is missing.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmod, mkdir, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Dreamhub, type DreamhubProcess, type Env, startDreamhub, startProcess } from '../support/dreamhub.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';
import { createTestDatabase, startRedis } from '../support/services.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const JWT_SECRET = 'a secret of the tests that is long enough for HS256';
const closers: (() => Promise<unknown>)[] = [];
let programs = '';
beforeAll(async () => {
  programs = await path();
});
afterAll(async () => {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
}, 120_000);

/**
 * PATH with programs of PostgreSQL that are as new as the server. Where the tests' own server is in a folder of its own
 * (`deploy/scripts/services.sh`), so are they; the dump goes by pipes, so they need to see nothing else.
 */
async function path(): Promise<string> {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  const root = join(cache, 'dreamhub/debian-trixie-pg17');
  const bin = '/usr/lib/postgresql/17/bin';
  const place = await temporaryFolder();
  closers.push(() => place.remove());
  if (await Bun.file(`${root}${bin}/pg_dump`).exists()) {
    for (const program of ['pg_dump', 'pg_restore']) {
      await Bun.write(join(place.path, program), `#!/bin/sh\nexec chroot '${root}' ${bin}/${program} "$@"\n`);
      await chmod(join(place.path, program), 0o755);
    }
  }
  return `${place.path}:${process.env['PATH'] ?? ''}`;
}

async function command(env: Env, ...args: string[]): Promise<{ code: number; said: string }> {
  const child = Bun.spawn([process.execPath, 'src/command.ts', ...args], {
    cwd: ROOT,
    env: { PATH: programs, ...env },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, error] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, said: out + error };
}

const lines = (name: string) => Array.from({ length: 40 }, (_, i) => `${name} says that ${i} is a number.`).join('\n');

interface Listed {
  id: string;
  status: string;
  sha256: string;
}

/** On any server: the token is as good there. */
async function documentsAt(url: string, token: string): Promise<Listed[]> {
  const all: Listed[] = [];
  for (let cursor = ''; ; ) {
    const answer = await fetch(`${url}/api/v1/documents?limit=200${cursor && `&cursor=${cursor}`}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const { items, next_cursor } = (await answer.json()) as { items: Listed[]; next_cursor: string | null };
    all.push(...items);
    if (next_cursor === null) return all;
    cursor = next_cursor;
  }
}

/** Uploads until it is told to stop; resolves to the ids in the order in which they were accepted. */
function uploading(person: Person) {
  const ids: string[] = [];
  let going = true;
  const done = (async () => {
    for (let i = 0; going; i += 1) {
      const { status, body } = await person.upload(lines(`document ${i}`), `${i}.txt`);
      if (status === 202) ids.push(body.document_id);
    }
  })();
  return {
    ids,
    async stop() {
      going = false;
      await done;
    },
  };
}

/** Backs up under load, restores, and compares. */
async function prove(hub: Dreamhub, env: Env, elsewhere: () => Promise<Env>): Promise<void> {
  const person = await register(hub.url);
  const socket = await person.socket();
  const first = await person.learn(socket, lines('the first one'), 'first.txt');
  const load = uploading(person);
  closers.push(() => load.stop().catch(() => undefined));
  await eventually('there is load', () => load.ids.length >= 3);
  const place = await temporaryFolder();
  closers.push(() => place.remove());
  const backup = join(place.path, 'backup');
  const accepted = [...load.ids];
  const made = await command(env, 'backup', backup);
  expect([made.code, made.said]).toEqual([0, expect.stringContaining('blobs')]);
  await load.stop();
  expect((await command(env, 'backup', backup)).said).toContain('is there already');
  socket.close();
  const uploaded = new Map((await documentsAt(hub.url, person.token)).map((one) => [one.id, one.sha256]));

  const target = await elsewhere();
  const restored = await command(target, 'restore', backup);
  expect([restored.code, restored.said]).toEqual([0, expect.stringContaining('Restored')]);
  expect((await command(target, 'restore', backup)).said).toContain('not empty');
  const process: DreamhubProcess = await startProcess(target);
  closers.push(() => process.stop());
  await eventually(
    'all that was under way is finished',
    async () => (await documentsAt(process.url, person.token)).every(({ status }) => status === 'ready'),
    90_000,
  );
  const there = await documentsAt(process.url, person.token);
  const ids = there.map(({ id }) => id);
  // What was accepted before it began is there; what is there, was.
  expect([first.document_id, ...accepted].filter((id) => !ids.includes(id))).toEqual([]);
  for (const { id, sha256 } of there) {
    expect(uploaded.get(id)).toBe(sha256);
    const content = await fetch(`${process.url}/api/v1/documents/${id}/content`, {
      headers: { authorization: `Bearer ${person.token}` },
    });
    expect(Bun.SHA256.hash(await content.bytes(), 'hex')).toBe(sha256);
  }
  const search = await fetch(`${process.url}/api/v1/search`, {
    method: 'POST',
    headers: { authorization: `Bearer ${person.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query: 'the first one says', top_k: 5, filter: { document_ids: [first.document_id] } }),
  });
  expect(((await search.json()) as { results: unknown[] }).results.length).toBeGreaterThan(0);
}

describe('a backup', () => {
  test('of PostgreSQL and a folder, under load, is whole and goes on elsewhere', async () => {
    const hub = await startDreamhub('all');
    closers.push(() => hub.stop());
    await prove(hub, hub.env, async () => {
      const [database, redis, folder] = await Promise.all([createTestDatabase(), startRedis(), temporaryFolder()]);
      closers.push(
        () => folder.remove(),
        () => redis.stop(),
        () => database.drop(),
      );
      const full = { DATA_DIR: folder.path, DATABASE_URL: database.url, DATABASE_OWNER_URL: database.adminUrl };
      // A database with tables is refused, and left as it is.
      await mkdir(join(folder.path, 'empty'));
      const refused = await command({ ...full, JWT_SECRET }, 'restore', join(folder.path, 'empty'));
      expect([refused.code, refused.said]).toEqual([1, expect.stringContaining('no whole backup')]);
      return { ...full, ...(await emptied(database)), REDIS_URL: redis.url, JWT_SECRET };
    });
  }, 240_000);

  test('by a login that does not see every row is refused, not made of what it sees', async () => {
    const [database, folder] = await Promise.all([createTestDatabase(), temporaryFolder()]);
    closers.push(
      () => folder.remove(),
      () => database.drop(),
    );
    const env = { DATA_DIR: folder.path, DATABASE_URL: database.url, DATABASE_OWNER_URL: database.url, JWT_SECRET };
    const { code, said } = await command(env, 'backup', join(folder.path, 'backup'));
    expect([code, said]).toEqual([1, expect.stringContaining('pg_dump failed')]);
    expect(await readdir(folder.path)).not.toContain('backup');
  });
});

/** The same database without anything in it. */
async function emptied(database: { adminUrl: string }): Promise<Env> {
  const { default: postgres } = await import('postgres');
  const sql = postgres(database.adminUrl, { max: 1, onnotice: () => undefined });
  await sql.unsafe('drop schema public cascade; create schema public; grant usage on schema public to public');
  await sql.end();
  return {};
}
