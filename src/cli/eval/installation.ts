/**
 * DreamHub as its users have it: a process of `src/main.ts`, spoken to over HTTP alone. The environment passes through
 * untouched, so `DATABASE_URL`, `REDIS_URL` and the providers mean what they mean there; without them all is embedded in a
 * folder that goes with the process.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../main.ts', import.meta.url));
const START_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 5_000;
/** The end of its output, shown where it fails. */
const KEPT_OUTPUT = 8_000;

export interface Installation {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  /** The end of what it wrote. */
  output(): string;
  stop(): Promise<void>;
}

/** Starts it and waits until it serves. `dataDir` is kept; without one, a temporary folder is used. */
export async function startInstallation(dataDir: string | undefined): Promise<Installation> {
  const folder = dataDir ?? (await mkdtemp(join(tmpdir(), 'dreamhub-eval-')));
  const settings = {
    PORT: '0',
    HOST: '127.0.0.1',
    DATA_DIR: folder,
    DREAMHUB_ROLE: 'all',
    REGISTRATION: 'open',
    DEMO: 'false',
    LOG_LEVEL: 'info',
    NODE_ENV: 'development',
    JWT_SECRET: `${crypto.randomUUID()}${crypto.randomUUID()}`,
    QUEUE_MAX_DEPTH: '10000000',
    TENANT_CONCURRENCY: '16',
  };
  // env(1) adds to the environment without its being read here; originals belong into the folder that goes.
  const child = Bun.spawn(
    [
      'env',
      ...['BLOB_URL', 'METRICS_TOKEN', 'METRICS_TOKEN_FILE', 'JWT_SECRET_FILE'].flatMap((name) => ['-u', name]),
      ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
      process.execPath,
      MAIN,
    ],
    { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
  );
  let text = '';
  const address = Promise.withResolvers<string>();
  const drain = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      text = (text + decoder.decode(bytes, { stream: true })).slice(-KEPT_OUTPUT);
      const found = /"address":"(http:[^"]+)"/.exec(text)?.[1];
      if (found) address.resolve(found.replace('localhost', '127.0.0.1'));
    }
  };
  const ended = Promise.all([drain(child.stdout), drain(child.stderr), child.exited]);
  void ended.then(([, , code]) => address.reject(new Error(`DreamHub ended with ${code}:\n${text}`)));
  const timer = setTimeout(() => address.reject(new Error(`DreamHub does not start:\n${text}`)), START_TIMEOUT_MS);
  const stop = async () => {
    child.kill('SIGTERM');
    // What still waits for the pipeline is of no use to anybody: asked a second time, it ends at once.
    const impatience = setTimeout(() => child.kill('SIGTERM'), STOP_TIMEOUT_MS);
    await ended.finally(() => clearTimeout(impatience));
    if (dataDir === undefined) await rm(folder, { recursive: true, force: true });
  };
  try {
    return { url: await address.promise, output: () => text, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
