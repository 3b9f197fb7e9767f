/** DreamHub as a process of its own, started as anybody starts it: from environment variables. */
import { type Child, startChild } from './child.ts';

export interface Installation extends Child {
  /** `http://127.0.0.1:…` */
  readonly address: string;
  readonly port: number;
  /** Milliseconds from the start of the process to the first 200 of `/readyz`. */
  readonly startMs: number;
}

const POLL_MS = 1;
const START_TIMEOUT_MS = 120_000;

/** Nobody listens there now. */
function freePort(): number {
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() });
  const { port } = server;
  void server.stop(true);
  if (port === undefined) throw new Error('No port is free.');
  return port;
}

async function isReady(address: string): Promise<boolean> {
  try {
    const response = await fetch(`${address}/readyz`);
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

export async function startInstallation(env: Readonly<Record<string, string>>): Promise<Installation> {
  const port = freePort();
  const address = `http://127.0.0.1:${port}`;
  const started = performance.now();
  const child = startChild({ script: 'src/main.ts', env: { ...env, PORT: String(port), HOST: '127.0.0.1' } });
  let ended = false;
  void child.exited.then(() => {
    ended = true;
  });
  while (!(await isReady(address))) {
    if (ended || performance.now() - started > START_TIMEOUT_MS) {
      const what = ended ? 'ended before it was ready' : 'was not ready in time';
      const said = child.errorTail();
      await child[Symbol.asyncDispose]();
      throw new Error(`DreamHub ${what}:\n${said}`);
    }
    await Bun.sleep(POLL_MS);
  }
  return { ...child, address, port, startMs: performance.now() - started };
}
