/** The doctor finds what is broken, one thing at a time, says what to do, and is content with what is well. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Redis from 'ioredis';
import postgres from 'postgres';
import { type DoctorOptions, examine, runDoctor } from '../../src/cli/doctor.ts';
import { createDatabase } from '../../src/db/database.ts';
import { ensureSpace } from '../../src/db/spaces.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { hasClamd, startClamd } from '../support/clamd.ts';
import { startFakeOpenAi } from '../support/fake-openai.ts';
import { createTestDatabase, startRedis } from '../support/services.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
let db: Awaited<ReturnType<typeof createTestDatabase>>;
let server: Awaited<ReturnType<typeof startRedis>>;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let sql: postgres.Sql;
let redis: Redis;

type Environment = NonNullable<DoctorOptions['environment']>;
let sound: Environment;

beforeAll(async () => {
  [db, server, folder] = await Promise.all([createTestDatabase(), startRedis(), temporaryFolder()]);
  sql = postgres(db.adminUrl, { max: 2, onnotice: () => undefined });
  redis = new Redis({ path: server.url.slice('unix:'.length), protocol: 2 });
  await redis.config('SET', 'appendonly', 'yes');
  const database = createDatabase({ url: db.url, ownerUrl: db.adminUrl, max: 2, embedded: false });
  await ensureSpace(database, { provider: 'builtin', model: 'built in', dimensions: 64, pipeline: 'x' });
  await database.close();
  sound = {
    dataDir: folder.path,
    databaseUrl: db.url,
    databaseOwnerUrl: db.adminUrl,
    redisUrl: server.url,
    blobUrl: `file://${folder.path}/blobs`,
    s3: undefined,
    clamav: undefined,
    openaiBaseUrl: undefined,
    openaiApiKeys: [],
    embeddingBaseUrl: undefined,
    embeddingApiKeys: [],
    chatModel: undefined,
    embeddingModel: undefined,
    embeddingDimensions: undefined,
    operatorToken: 'the token of the operator',
  };
}, 60_000);
afterAll(async () => {
  redis.disconnect();
  await sql.end({ timeout: 5 });
  await Promise.all([db.drop(), server.stop()]);
  await folder.remove();
});

const space = async () => ({ free: 2 ** 40, total: 2 ** 41 });
const optionsOf = (environment: Partial<Environment> = {}, more: Partial<DoctorOptions> = {}): DoctorOptions => ({
  environment: { ...sound, ...environment },
  problems: [],
  clock: systemClock,
  ids: systemIds,
  logger: silentLogger,
  space,
  ...more,
});

/** Everything that is not well, as `severity check: message`; each with what to do. */
async function complaints(
  environment: Partial<Environment> = {},
  more: Partial<DoctorOptions> = {},
): Promise<string[]> {
  const findings = await examine(optionsOf(environment, more));
  // Which pgvector is old is the machine's matter, not the test's.
  const wrong = findings.filter(({ severity, check }) => severity !== 'ok' && check !== 'pgvector');
  for (const { advice } of wrong) expect(advice).toMatch(/\w{2}/);
  return wrong.map(({ severity, check, message }) => `${severity} ${check}: ${message}`);
}

const NO_MODEL = 'warning provider: None is configured: answers are put together from the best sentences.';

describe('of a sound installation', () => {
  test('nothing is said but what is well', async () => {
    expect(await complaints()).toEqual([NO_MODEL]);
    let text = '';
    const say = (more: string) => {
      text += more;
    };
    expect(await runDoctor([], optionsOf(), say)).toBe(0);
    for (const word of ['PostgreSQL', 'pgvector', 'Redis', 'Nothing stands still', 'Nothing is wrong'])
      expect(text).toContain(word);
  });
});

describe('the doctor finds', () => {
  test('a database that lets nobody in', async () => {
    const url = new URL(db.url);
    url.port = '1';
    expect(await complaints({ databaseUrl: url.href })).toEqual([
      expect.stringMatching(/^problem database: .*:1 does not let us in: /),
      NO_MODEL,
    ]);
  });

  test('migrations that are pending, and such as are of another version', async () => {
    const [last] = await sql<{ name: string; checksum: string }[]>`
      delete from schema_migrations where name = (select max(name) from schema_migrations) returning name, checksum`;
    if (!last) throw new Error('there is no migration');
    expect(await complaints()).toContain(`warning migrations: 1 are not applied: ${last.name}.`);
    await sql`insert into schema_migrations (name, checksum) values ('9999_later.sql', 'x')`;
    expect((await complaints()).join('\n')).toMatch(/problem migrations: .*9999_later\.sql/);
    await sql`delete from schema_migrations where name = '9999_later.sql'`;
    await sql`insert into schema_migrations (name, checksum) values (${last.name}, ${last.checksum})`;
    expect(await complaints()).toEqual([NO_MODEL]);
  });

  test('a table whose policies are not forced', async () => {
    await sql`alter table documents no force row level security`;
    expect(await complaints()).toContain('problem isolation: Row-level security is not forced on documents.');
    await sql`alter table documents force row level security`;
  });

  test('a login that row-level security does not bind', async () => {
    const found = await complaints({ databaseUrl: db.adminUrl });
    expect(found).toContainEqual(expect.stringMatching(/^warning isolation: Row-level security does not bind /));
  });

  test('a clock that differs from the database’s', async () => {
    const clock = { ...systemClock, now: () => systemClock.now() + 60_000 };
    expect(await complaints({}, { clock })).toContain('problem clock: This machine and the database differ by 60 s.');
  });

  test('work that stands still', async () => {
    const [tenant, document, task, user] = Array.from({ length: 4 }, () => crypto.randomUUID()) as [
      string,
      string,
      string,
      string,
    ];
    await sql`insert into tenants (id, name) values (${tenant}, ${tenant})`;
    await sql`insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type)
      values (${tenant}, ${document}, ${user}, 'tenant', 'x', 'x', 'text/plain', 1, ${Buffer.alloc(32)}, 'upload')`;
    await sql`insert into tasks (tenant_id, id, kind, document_id, user_id, document_version, size, run_at)
      values (${tenant}, ${task}, 'ingest', ${document}, ${user}, 1, 1, now() - interval '1 hour')`;
    expect(await complaints()).toContainEqual(expect.stringMatching(/^warning work: 1 tasks or turns have waited/));
    await sql`update tasks set status = 'running', leased_until = now() - interval '1 hour' where id = ${task}`;
    expect(await complaints()).toContainEqual(expect.stringMatching(/^problem work: 1 tasks or turns have been left/));
    await sql`update tasks set status = 'dead' where id = ${task}`;
    expect(await complaints()).toContainEqual(expect.stringMatching(/^warning work: 1 tasks wait among the dead/));
    await sql`delete from tasks where id = ${task}`;
    await sql`insert into outbox (tenant_id, type, data, occurred_at) values (${tenant}, 'x', '{}', now() - interval '1 hour')`;
    expect(await complaints()).toContainEqual(expect.stringMatching(/^problem work: 1 events have not been published/));
    await sql`delete from outbox`;
    await sql`insert into erasures (id, scope, whole, of_tenant, of_user, deadline)
      values (${task}, 'tenant', true, ${tenant}, ${user}, now() - interval '1 hour')`;
    expect(await complaints()).toContainEqual(expect.stringMatching(/^problem work: 1 erasures are past/));
    await sql`delete from erasures`;
    expect(await complaints()).toEqual([NO_MODEL]);
  });

  test('a Redis that is away, that throws work away, that keeps nothing, that is full', async () => {
    expect(await complaints({ redisUrl: 'redis://127.0.0.1:1' })).toContainEqual(
      expect.stringMatching(/^problem redis: REDIS_URL does not answer/),
    );
    await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
    expect(await complaints()).toContain('problem redis: maxmemory-policy is allkeys-lru: it throws queued work away.');
    await redis.config('SET', 'maxmemory-policy', 'noeviction');
    await redis.config('SET', 'appendonly', 'no');
    expect(await complaints()).toContainEqual(expect.stringMatching(/^warning redis: Nothing is appended to a file/));
    await redis.config('SET', 'appendonly', 'yes');
    await redis.config('SET', 'maxmemory', '1mb');
    expect(await complaints()).toContainEqual(expect.stringMatching(/^problem redis: \d+ % of maxmemory/));
    await redis.config('SET', 'maxmemory', '0');
    expect(await complaints()).toEqual([NO_MODEL]);
  });

  test('a blob store that cannot be written', async () => {
    const file = join(folder.path, 'a file');
    await Bun.write(file, 'in the way');
    const found = await complaints({ blobUrl: Bun.pathToFileURL(`${file}/blobs`).href });
    expect(found).toContainEqual(expect.stringMatching(/^problem blob store: .* cannot be written: /));
  });

  test('a disk that is nearly full', async () => {
    const nearly = { space: async () => ({ free: 2 ** 29, total: 2 ** 40 }) };
    expect(await complaints({}, nearly)).toContainEqual(
      expect.stringMatching(/^warning disk space: 0\.5 GiB of 1024\.0/),
    );
    const full = { space: async () => ({ free: 2 ** 20, total: 2 ** 40 }) };
    expect(await complaints({}, full)).toContainEqual(expect.stringMatching(/^problem disk space: 0\.0 GiB/));
  });

  test('a provider that is away, makes other vectors, or is not the one that searches ask', async () => {
    const away = { openaiBaseUrl: 'http://127.0.0.1:1/v1', openaiApiKeys: ['k'] };
    expect(await complaints(away)).toContainEqual(expect.stringMatching(/^problem provider: It does not answer/));
    const fake = startFakeOpenAi({ dimensions: 64 });
    try {
      const there = { openaiBaseUrl: fake.url, openaiApiKeys: ['k'], embeddingModel: 'other' };
      const found = await complaints(there);
      expect(found).toEqual([
        'problem embedding space: Searches ask space 1: built in, 64 dimensions; configured is other.',
      ]);
      expect(await complaints({ embeddingDimensions: 32 })).toContainEqual(
        expect.stringMatching(/^problem embedding space: .*configured is the built-in model, 32\.$/),
      );
    } finally {
      await fake.stop();
    }
  });

  test('a scanner that is away, and none that is there', async () => {
    expect(await complaints({ clamav: { path: `${folder.path}/no.sock` } })).toContainEqual(
      expect.stringMatching(/^problem clamd: CLAMAV_URL does not answer/),
    );
    if (!hasClamd) return;
    const clamd = await startClamd();
    try {
      expect(await complaints({ clamav: { path: clamd.url.slice('unix:'.length) } })).toEqual([NO_MODEL]);
    } finally {
      await clamd.stop();
    }
  });

  test('that the operator has no token', async () => {
    expect(await complaints({ operatorToken: undefined })).toContain(
      'warning configuration: There is no OPERATOR_TOKEN.',
    );
  });
});

describe('the command', () => {
  async function run(env: Record<string, string>, ...args: string[]): Promise<{ code: number; out: string }> {
    const child = Bun.spawn([process.execPath, 'src/command.ts', 'doctor', ...args], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'] ?? '', DATA_DIR: folder.path, ...env },
      stdout: 'pipe',
      stderr: 'pipe',
    });
    return { code: await child.exited, out: await new Response(child.stdout).text() };
  }

  test('says everything that is wrong with the environment, and exits with 1', async () => {
    const { code, out } = await run({ PORT: 'x', DATABASE_URL: 'mysql://h', LOG_LEVEL: 'loud' });
    expect(code).toBe(1);
    for (const name of ['PORT', 'DATABASE_URL', 'LOG_LEVEL']) expect(out).toContain(`✗ configuration: ${name}`);
  });

  test('exits with 0 where all is well, and says it to programs too', async () => {
    const env = {
      DATABASE_URL: db.url,
      DATABASE_OWNER_URL: db.adminUrl,
      REDIS_URL: server.url,
      JWT_SECRET: 'a secret of the tests that is long enough for HS256',
    };
    const { code, out } = await run(env, '--json');
    const { ok, findings } = JSON.parse(out) as { ok: boolean; findings: { check: string; severity: string }[] };
    expect([code, ok]).toEqual([0, true]);
    expect(findings.filter(({ severity }) => severity === 'problem')).toEqual([]);
    expect(findings.map(({ check }) => check)).toEqual(
      expect.arrayContaining(['database', 'redis', 'blob store', 'clamd']),
    );
  }, 60_000);
});
