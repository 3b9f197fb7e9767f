import { describe, expect, test } from 'bun:test';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, readConfig } from '../../src/config.ts';

const SECRET = 'x'.repeat(32);
const DISTRIBUTED = { DATABASE_URL: 'postgres://db/x', REDIS_URL: 'redis://cache', JWT_SECRET: SECRET };

function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('the environment', () => {
  test('may be empty: everything is embedded and registration is open', () => {
    expect(readConfig({})).toMatchObject({
      port: 8080,
      host: '127.0.0.1',
      role: 'all',
      databaseUrl: undefined,
      redisUrl: undefined,
      registration: 'open',
      queueMaxDepth: 10_000,
      queueMaxBytes: 53_687_091_200,
      allowPrivateWebhooks: true,
      visibilityTimeoutMs: 30_000,
      chatVisibilityTimeoutMs: 5_000,
      maxUploadBytes: 209_715_200,
    });
  });

  test('says what stands before texts that are embedded; nobody loses the blank behind a colon', () => {
    const prefixesOf = (env: Record<string, string>) => readConfig(env).embeddingPrefixes;
    expect(prefixesOf({ EMBEDDING_QUERY_PREFIX: '' })).toEqual({ query: undefined, document: undefined });
    expect(prefixesOf({ EMBEDDING_QUERY_PREFIX: 'query:', EMBEDDING_DOCUMENT_PREFIX: 'none' })).toEqual({
      query: 'query: ',
      document: '',
    });
    expect(prefixesOf({ EMBEDDING_QUERY_PREFIX: 'Instruct: find it\\nQuery: ' }).query).toBe(
      'Instruct: find it\nQuery: ',
    );
  });

  test('invites by default where a database is given', () => {
    expect(readConfig(DISTRIBUTED)).toMatchObject({ registration: 'invite', jwtSecrets: [SECRET] });
  });

  test('is frozen', () => {
    expect(Object.isFrozen(readConfig({}))).toBe(true);
  });

  test('tells all its problems at once', () => {
    const problems = problemsOf({
      PORT: 'http',
      DREAMHUB_ROLE: 'server',
      DATABASE_URL: 'mysql://x',
      MAX_ATTEMPTS: '0',
      LOG_LEVEL: 'loud',
      JWT_SECRET: 'short',
    });
    for (const name of ['PORT', 'DATABASE_URL', 'REDIS_URL', 'MAX_ATTEMPTS', 'LOG_LEVEL', 'JWT_SECRET']) {
      expect(problems.join('\n')).toContain(name);
    }
  });

  test('spreads tenants wider over a cluster, whose address it can read', () => {
    expect(readConfig(DISTRIBUTED).partitions).toBe(4);
    expect(readConfig({ ...DISTRIBUTED, REDIS_URL: 'redis+cluster://a:1,b:2' }).partitions).toBe(16);
    expect(problemsOf({ ...DISTRIBUTED, REDIS_URL: 'redis+cluster://a:secret' })).toEqual([
      'REDIS_URL cannot be read: a cluster is redis+cluster://[user:password@]host:port,host:port',
    ]);
  });

  for (const role of ['server', 'worker']) {
    test(`needs a database and a Redis of its own for the role ${role}`, () => {
      expect(problemsOf({ DREAMHUB_ROLE: role }).filter((problem) => problem.includes(role))).toHaveLength(2);
    });
  }

  test('takes a secret from a file, and only so in production', async () => {
    const file = join(await mkdtemp(join(tmpdir(), 'config-')), 'jwt');
    await writeFile(file, `${SECRET},${SECRET}2\n`);
    expect(readConfig({ JWT_SECRET_FILE: file }).jwtSecrets).toEqual([SECRET, `${SECRET}2`]);
    expect(problemsOf({ NODE_ENV: 'production', JWT_SECRET: SECRET })[0]).toContain('JWT_SECRET_FILE');
    expect(problemsOf({ JWT_SECRET: SECRET, JWT_SECRET_FILE: file })[0]).toContain('both');
    expect(problemsOf({ JWT_SECRET_FILE: `${file}.none` })[0]).toContain('cannot be read');
  });

  test('asks for credentials where blobs are in S3', () => {
    expect(problemsOf({ BLOB_URL: 's3://bucket' })[0]).toContain('AWS_ACCESS_KEY_ID');
    expect(problemsOf({ BLOB_URL: 'ftp://bucket' })[0]).toContain('BLOB_URL');
    const s3 = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'key' };
    expect(readConfig({ BLOB_URL: 's3://bucket', ...s3 }).s3).toMatchObject({ accessKeyId: 'id' });
  });

  test('does not say secrets in its problems', () => {
    expect(problemsOf({ JWT_SECRET: 'hunter2', DATABASE_URL: 'hunter3' }).join()).not.toMatch(/hunter/);
  });
});

test('folders that may be sources are absolute, for all tenants or for one', () => {
  const tenantId = '01985f2a-6c1e-7a10-9d5c-2f3b8e41a002';
  expect(readConfig({}).sourceFolders).toEqual([]);
  expect(readConfig({ SOURCE_FOLDERS: `/srv/docs, ${tenantId.toUpperCase()}=/srv/own` }).sourceFolders).toEqual([
    { path: '/srv/docs', tenantId: null },
    { path: '/srv/own', tenantId },
  ]);
  expect(() => readConfig({ SOURCE_FOLDERS: 'docs' })).toThrow('SOURCE_FOLDERS');
  expect(() => readConfig({ ENCRYPTION_KEY: 'short' })).toThrow('ENCRYPTION_KEY');
  expect(readConfig({}).allowPrivateSources).toBe(false);
});
