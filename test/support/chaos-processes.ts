/**
 * Processes of `src/main.ts` under a supervisor that starts them again whenever they end, as systemd or Kubernetes would.
 *
 * A process: starting → up → (frozen ↔ up) → ended → starting …; after `stop` it stays ended.
 */
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/kernel/clock.ts';
import { createAlarmReader } from './chaos-alarms.ts';
import type { Env } from './dreamhub.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
/** Between an end and the next start. */
const PAUSE_MS = 100;
const KEPT_OUTPUT = 200_000;
const UP_TIMEOUT_MS = 60_000;

/** How a process ended that nobody had asked to. */
export interface Crash {
  name: string;
  code: number | null;
  signal: string | number | null;
  output: string;
}

export interface Supervised {
  readonly name: string;
  /** Of the process of now; undefined between two. */
  pid(): number | undefined;
  /** `http://127.0.0.1:PORT` of the process of now; '' until it listens. */
  url(): string;
  /** Resolves once a process serves: the one of now, or the next. */
  up(): Promise<void>;
  /** SIGKILL; the supervisor starts another one. */
  kill(): void;
  /**
   * SIGTERM, as before a deploy; resolves with the exit code. The supervisor starts another one. `again`: and a second
   * one in the middle of what the first has begun.
   */
  terminate(options?: { again?: boolean }): Promise<number>;
  /** SIGSTOP and SIGCONT: alive for the kernel and for its peers, dead for its leases. */
  freeze(): void;
  thaw(): void;
  /** What all its processes wrote, the end of it. */
  output(): string;
  /** Lines that none of its processes may write. */
  alarms(): readonly string[];
  /** Ends it for good. */
  stop(): Promise<void>;
}

export interface SupervisedOptions {
  name: string;
  env: Env;
  /** Told of every end that neither `kill`, `terminate` nor `stop` had asked for. */
  onCrash(crash: Crash): void;
}

interface Life {
  readonly child: Bun.Subprocess<'ignore', 'pipe', 'pipe'>;
  url: string;
  /** Somebody wants it to end. */
  doomed: boolean;
}

export function supervise({ name, env, onCrash }: SupervisedOptions): Supervised {
  let output = '';
  const alarms: string[] = [];
  let life: Life | undefined;
  let stopping = false;
  let frozen = false;
  const watchers = new Set<() => void>();

  async function read(own: Life, stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    const reader = createAlarmReader();
    for await (const bytes of stream) {
      const text = decoder.decode(bytes, { stream: true });
      output = (output + text).slice(-KEPT_OUTPUT);
      reader.read(text);
      alarms.push(...reader.alarms.splice(0));
      if (own.url !== '') continue;
      // Written once the process listens.
      const address = /"address":"(http:[^"]+)"/.exec(
        output.slice(output.lastIndexOf(`pid ${own.child.pid} starts`)),
      )?.[1];
      if (address === undefined) continue;
      own.url = address.replace('localhost', '127.0.0.1');
      for (const look of [...watchers]) look();
    }
  }

  function launch(): Life {
    const child = Bun.spawn([process.execPath, 'src/main.ts'], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], PORT: '0', LOG_LEVEL: 'info', ...env },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    output += `\n--- ${name}: pid ${child.pid} starts\n`;
    return { child, url: '', doomed: false };
  }

  async function run(): Promise<void> {
    while (!stopping) {
      const own = launch();
      life = own;
      frozen = false;
      await Promise.all([read(own, own.child.stdout), read(own, own.child.stderr), own.child.exited]);
      life = undefined;
      output += `\n--- ${name}: pid ${own.child.pid} ended with ${own.child.signalCode ?? own.child.exitCode}\n`;
      if (!own.doomed) {
        const { exitCode: code, signalCode: signal } = own.child;
        onCrash({ name, code, signal, output: output.slice(-8_000) });
      }
      if (!stopping) await systemClock.sleep(PAUSE_MS);
    }
  }

  const running = run();

  function signal(what: NodeJS.Signals): void {
    life?.child.kill(what);
  }

  function doom(): Life | undefined {
    if (life) life.doomed = true;
    return life;
  }

  return {
    name,
    pid: () => life?.child.pid,
    url: () => life?.url ?? '',
    async up() {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const look = () => {
        if (life && !life.doomed && life.url !== '') resolve();
      };
      const cancel = systemClock.after(UP_TIMEOUT_MS, () =>
        reject(new Error(`${name} does not come up:\n${output.slice(-4_000)}`)),
      );
      watchers.add(look);
      look();
      await promise.finally(() => {
        watchers.delete(look);
        cancel();
      });
    },
    kill() {
      doom();
      signal('SIGKILL');
    },
    async terminate({ again = false } = {}) {
      const own = doom();
      if (frozen) signal('SIGCONT');
      signal('SIGTERM');
      if (again) {
        await systemClock.sleep(PAUSE_MS);
        own?.child.kill('SIGTERM');
      }
      return own ? own.child.exited : 0;
    },
    freeze() {
      frozen = true;
      signal('SIGSTOP');
    },
    thaw() {
      frozen = false;
      signal('SIGCONT');
    },
    output: () => output,
    alarms: () => alarms,
    async stop() {
      stopping = true;
      doom();
      signal('SIGKILL');
      await running;
    },
  };
}
