/** What can be known about the container files where no container engine runs. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readConfig } from '../../src/config.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface ComposeService {
  environment?: Record<string, string>;
  volumes?: string[];
  command?: string[];
  depends_on?: Record<string, { condition: string }>;
}

interface Compose {
  services: Record<string, ComposeService>;
  volumes: Record<string, unknown>;
}

const read = (name: string): Promise<string> => Bun.file(join(ROOT, name)).text();
const compose = Bun.YAML.parse(await read('docker-compose.yml')) as Compose;
const SECRETS = '/run/dreamhub';

let secrets: TemporaryFolder;

beforeAll(async () => {
  secrets = await temporaryFolder();
  await makeSecrets();
});
afterAll(() => secrets.remove());

async function makeSecrets(): Promise<void> {
  const script = join(ROOT, 'deploy/scripts/make-secrets.sh');
  const child = Bun.spawn(['sh', script, secrets.path], { stdout: 'ignore' });
  expect(await child.exited).toBe(0);
}

/** The environment of a service as its process would see it: defaults of `${NAME:-default}`, secrets from our folder. */
function environmentOf(name: string): Record<string, string> {
  const entries = Object.entries(compose.services[name]?.environment ?? {});
  return Object.fromEntries(
    entries.map(([key, value]) => [key, value.replace(/\$\{\w+:-([^}]*)\}/g, '$1').replace(SECRETS, secrets.path)]),
  );
}

describe('docker-compose.yml', () => {
  test.each(['server', 'worker'])('gives the %s an environment that the configuration accepts', (name) => {
    const config = readConfig(environmentOf(name));
    expect(config).toMatchObject({ role: name, production: true, host: '0.0.0.0', port: 8080 });
    expect(config.databaseUrl).toMatch(/^postgres:\/\/dreamhub_app:[0-9a-f]{64}@postgres:5432\/dreamhub$/);
    expect(config.redisUrl).toMatch(/^redis:\/\/:[0-9a-f]{64}@redis:6379$/);
  });

  test.each(['server', 'worker'])('sets nothing for the %s that the configuration does not read', async (name) => {
    const source = await read('src/config.ts');
    const names = Object.keys(environmentOf(name));
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((key) => !source.includes(`'${key.replace(/_FILE$/, '')}'`))).toEqual([]);
  });

  test.each(['server', 'worker'])('hands the %s what an operator sets', (name) => {
    const environment = compose.services[name]?.environment ?? {};
    const passed = [
      'OPENAI_BASE_URL',
      'EMBEDDING_BASE_URL',
      'RERANK_URL',
      'RERANK_MODEL',
      'CLAMAV_URL',
      'SOURCE_FOLDERS',
    ];
    for (const key of passed) expect(environment[key]).toBe(`\${${key}:-}`);
    for (const key of ['ALLOW_PRIVATE_SOURCES', 'ALLOW_PRIVATE_WEBHOOKS']) {
      expect(environment[key]).toBe(`\${${key}:-false}`);
    }
    for (const key of ['OPENAI_API_KEYS', 'EMBEDDING_API_KEYS', 'RERANK_API_KEYS', 'ENCRYPTION_KEY']) {
      expect(environment[`${key}_FILE`]).toBe(`${SECRETS}/${key.toLowerCase()}`);
    }
  });

  test('names only files that are there', () => {
    const mounts = Object.values(compose.services).flatMap(({ volumes = [] }) => volumes);
    const sources = mounts.map((mount) => mount.split(':')[0] ?? '');
    const [files, named] = [sources.filter((s) => s.startsWith('./')), sources.filter((s) => !s.startsWith('./'))];
    expect(files.length).toBeGreaterThan(0);
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
    expect(named.filter((volume) => !(volume in compose.volumes))).toEqual([]);
  });

  test('waits for services that exist', () => {
    for (const { depends_on = {} } of Object.values(compose.services)) {
      for (const name of Object.keys(depends_on)) expect(compose.services).toHaveProperty(name);
    }
  });
});

describe('make-secrets.sh', () => {
  test('keeps what is there', async () => {
    const before = await Bun.file(join(secrets.path, 'jwt_secret')).text();
    await makeSecrets();
    expect(await Bun.file(join(secrets.path, 'jwt_secret')).text()).toBe(before);
    expect(before).toMatch(/^[0-9a-f]{64}$/);
  });

  test('configures a Redis that never drops queued work', async () => {
    const conf = await Bun.file(join(secrets.path, 'redis.conf')).text();
    expect(conf).toContain('maxmemory-policy noeviction');
    expect(conf).toContain('appendonly yes');
    expect(compose.services['redis']?.command).toEqual(['redis-server', `${SECRETS}/redis.conf`]);
  });
});

describe('Dockerfile', () => {
  test('copies only what is there and what .dockerignore lets in', async () => {
    const copies = [...(await read('Dockerfile')).matchAll(/^COPY (?!--from)(.+)$/gm)];
    const sources = copies.flatMap(([, args = '']) => args.split(' ').slice(0, -1)).filter((s) => !s.includes('['));
    const admitted = (await read('.dockerignore')).split('\n').filter((line) => line.startsWith('!'));
    expect(sources.length).toBeGreaterThan(4);
    expect(sources.filter((source) => !existsSync(join(ROOT, source)))).toEqual([]);
    expect(sources.filter((source) => !admitted.includes(`!${source}`))).toEqual([]);
  });

  test('runs as somebody without rights, on the version of Bun that is developed with', async () => {
    const text = await read('Dockerfile');
    const { packageManager } = JSON.parse(await read('package.json')) as { packageManager: string };
    expect(text).toContain(`FROM oven/${packageManager.replace('@', ':')}-slim`);
    expect(text).toMatch(/^USER 1000:1000$/m);
  });
});
