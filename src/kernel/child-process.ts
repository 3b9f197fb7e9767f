/**
 * A helper process that belongs to this one: spawned into a session of its own, so that Ctrl-C in a terminal reaches
 * only us and we decide the order in which things end. The program keeps reading its standard input and ends when that
 * closes, which the kernel does for us even when we are killed with SIGKILL.
 */
import type { Clock } from './clock.ts';
import type { Logger } from './logger.ts';
import { within } from './within.ts';

export interface ChildExit {
  code: number | null;
  signal: string | null;
}

export interface ChildProcess {
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  /** The end of what it wrote to standard error, for a message that says why it failed. */
  errorTail(): string;
  /** Closes its standard input and waits; after `timeoutMs` kills it and all it started. */
  stop(timeoutMs: number): Promise<ChildExit>;
  kill(): void;
}

export interface ChildOptions {
  name: string;
  command: string[];
  /** Called with each line of its standard output. */
  onLine(line: string): void;
  clock: Clock;
  logger: Logger;
}

const ERROR_TAIL = 4_000;

async function each(stream: ReadableStream<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  }
  if (rest !== '') onLine(rest);
}

/** Throws what `Bun.spawn` throws when the program is not there. */
export function spawnChild({ name, command, onLine, clock, logger }: ChildOptions): ChildProcess {
  const child = Bun.spawn(command, {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
    detached: true,
  });
  let tail = '';
  // Both are read to their end: a full pipe would stop the child.
  const drained = Promise.all([
    each(child.stdout, onLine),
    each(child.stderr, (line) => {
      tail = `${tail}${line}\n`.slice(-ERROR_TAIL);
      logger.warn({ child: name }, line);
    }),
  ]).catch((error: unknown) => logger.debug({ err: error, child: name }, 'its output broke off'));

  const exited = child.exited.then(async (): Promise<ChildExit> => {
    // What it said last explains why it ended; but a grandchild may hold the pipes open for ever.
    await within(clock, 100, drained, () => undefined);
    return { code: child.exitCode, signal: child.signalCode === null ? null : String(child.signalCode) };
  });

  function kill(): void {
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It and all that it started are gone already.
    }
  }

  return {
    pid: child.pid,
    exited,
    errorTail: () => tail.trim(),
    kill,
    async stop(timeoutMs) {
      await child.stdin.end();
      const cancel = clock.after(timeoutMs, kill);
      try {
        return await exited;
      } finally {
        cancel();
      }
    },
  };
}
