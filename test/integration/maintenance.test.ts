/** The commands that look after vectors, run as anybody runs them. */
import { afterAll, expect, test } from 'bun:test';
import { fileURLToPath } from 'node:url';
import postgres from 'postgres';
import { createDatabase } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { measureSpread } from '../../src/repositories/vector-rows.ts';
import { exactChunks } from '../../src/repositories/vectors.ts';
import { toHalfvec } from '../../src/services/vectors.ts';
import { createHttpApp, OPERATOR_TOKEN } from '../support/http-app.ts';
import { createTestDatabase } from '../support/services.ts';
import { createTopics, loadTenants, type VectorTenant } from '../support/vector-tenants.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const db = await createTestDatabase();
const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 4, embedded: false });
const admin = postgres(db.adminUrl, { max: 1, onnotice: () => {} });
afterAll(async () => {
  await database.close();
  await admin.end();
  await db.drop();
});

async function run(command: 'maintenance' | 'spaces', args: string[], env: Record<string, string>) {
  const { PATH = '', HOME = '' } = process.env;
  const child = Bun.spawn([process.execPath, 'src/command.ts', command, ...args], {
    cwd: ROOT,
    env: { PATH, HOME, LOG_LEVEL: 'warn', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, out, err };
}

test('maintenance brings a tenant’s scattered rows together, and changes no answer', async () => {
  const space = await ensureSpace(database, { provider: 'p', model: 'm', dimensions: 96, pipeline: 'x' });
  const topics = createTopics(96, 3);
  const tenants = await loadTenants([300, 300, 300, 300], { adminUrl: db.adminUrl, spaceId: space.id, topics });
  // One row of each in turns, as many small uploads at once leave them.
  await admin.unsafe(`
    create table scattered as select * from chunk_vectors;
    delete from chunk_vectors;
    insert into chunk_vectors select * from scattered order by md5(chunk_id::text);
    drop table scattered`);
  const [who] = tenants as [VectorTenant];
  const as = <T>(fn: () => Promise<T>) => runAs({ ...who, traceId: newTraceId() }, fn);
  const spread = () => as(() => database.tenant((sql) => measureSpread(sql, space.id)));
  const query = { spaceId: space.id, embedding: toHalfvec(topics.vector()), limit: 20, filter: {} };
  const answer = () => as(() => database.tenant((sql) => exactChunks(sql, query)));
  const [apart, before] = [await spread(), await answer()];
  expect(apart.pages).toBeGreaterThan(apart.least * 2);

  const env = { DATABASE_URL: db.url, DATABASE_OWNER_URL: db.adminUrl, JWT_SECRET: 'x'.repeat(32) };
  const { code, out, err } = await run('maintenance', [], env);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toContain('4 regrouped (1200 rows)');
  const together = await spread();
  expect(together.rows).toBe(300);
  expect(together.pages).toBeLessThanOrEqual(together.least + 2);
  expect(await answer()).toEqual(before);
  expect((await run('maintenance', [], env)).out).toContain('0 regrouped');
}, 60_000);

test('maintenance says that the embedded database needs none of it', async () => {
  const { code, err } = await run('maintenance', [], {});
  expect(code).toBe(1);
  expect(err).toContain('DATABASE_URL');
}, 30_000);

test('spaces are listed and changed from the command line', async () => {
  const asked: string[] = [];
  const { app } = createHttpApp({
    spaces: {
      activate: async (id) => {
        asked.push(`activate ${id}`);
        const { space } = await import('../../src/http/examples.ts');
        return { ...space, id, state: 'active' };
      },
    },
  });
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: (request) => app.handle(request) });
  try {
    const env = { DREAMHUB_URL: `http://127.0.0.1:${server.port}`, OPERATOR_TOKEN };
    const cli = (...args: string[]) => run('spaces', args, env);
    expect((await cli()).out).toMatch(
      /^2\tbuilding\topenai text-embedding-3-large \(3072\)\textractors-\d+\+structural-2\/400\/45\/cl100k \(cut 0\)\t812\/1024 documents/,
    );
    expect(await cli('activate', '2')).toMatchObject({ code: 0, out: expect.stringMatching(/^2\tactive\t/) });
    expect(asked).toEqual(['activate 2']);
    expect((await cli('create', '--model', 'm', '--dimensions', '8')).code).toBe(0);
    expect((await cli('build', '--pipeline')).code).toBe(0);
    expect((await cli('build')).code).toBe(2);
    expect((await cli('failures', '2')).out).toContain('encrypted\tkeeps its chunks');
    expect((await cli('activate', 'x')).code).toBe(2);
    expect((await cli('create')).code).toBe(2);
    const refused = await run('spaces', [], { ...env, OPERATOR_TOKEN: 'wrong' });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('401');
  } finally {
    await server.stop(true);
  }
}, 60_000);
