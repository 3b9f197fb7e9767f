/** Processes of a benchmark: each ends with the scope that started it, whatever happens in between. */
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const STOP_MS = 20_000;

export interface Child extends AsyncDisposable {
  readonly pid: number;
  readonly exited: Promise<number>;
  /** The end of what it wrote to standard error. */
  errorTail(): string;
}

export interface ChildOptions {
  /** Relative to the repository, or absolute. */
  script: string;
  env?: Readonly<Record<string, string>>;
  /** What runs the script instead of this Bun; it is talked to in JSON. */
  program?: string;
  onMessage?(message: unknown): void;
}

const running = new Set<Bun.Subprocess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

/** Only what is given here reaches the child, beside what finding programs and folders needs. */
function environment(own: Readonly<Record<string, string>> = {}): Record<string, string> {
  const { PATH = '', HOME = '', TMPDIR } = process.env;
  return { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...own };
}

export function startChild({
  script,
  env,
  program,
  onMessage,
}: ChildOptions): Child & { send(message: unknown): void } {
  let tail = '';
  const child = Bun.spawn([program ?? process.execPath, script], {
    cwd: ROOT,
    env: environment(env),
    stdin: 'ignore',
    // Its log lines are formatted and written as in production, and kept by nobody.
    stdout: 'ignore',
    stderr: 'pipe',
    ...(onMessage && { ipc: onMessage, serialization: program === undefined ? 'advanced' : 'json' }),
  });
  running.add(child);
  void (async () => {
    for await (const text of child.stderr.pipeThrough(new TextDecoderStream())) tail = (tail + text).slice(-4_000);
  })();
  void child.exited.then(() => running.delete(child));
  return {
    pid: child.pid,
    exited: child.exited,
    errorTail: () => tail.trim(),
    send: (message) => void child.send(message),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await child.exited;
      clearTimeout(timer);
    },
  };
}
