/**
 * One extraction child. States: idle → busy → idle … → dead. A job ends by the child's answer, by its death, or by one
 * of the limits, which kill it; a dead child is never used again.
 *
 * Limits, from soft to hard: the wall clock and the resident memory are watched from here and kill the child; the kernel
 * bounds its data segment (an allocation beyond fails inside the child), its processor time (should we die and it loop),
 * the files it writes, and core dumps. `ulimit -v` would not do: JavaScriptCore reserves far more than it uses.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Subprocess } from 'bun';
import type { Clock } from '../kernel/clock.ts';
import { runDetached } from '../kernel/context.ts';
import { ExtractError } from './extract-error.ts';
import { isNotice, isReply, type JobMessage, type ReplyMessage } from './extract-protocol.ts';

const ENTRY = fileURLToPath(new URL('extract-child.ts', import.meta.url));
const MEMORY_POLL_MS = 100;
/**
 * What Bun reserves of its data segment beside what it uses, in MiB, and the least it needs: below, JavaScriptCore finds
 * no room for compiled code and interprets, four times as slow (measured on Bun 1.4.5). With both, a limit of 1 GiB lets
 * a child allocate 1.07 GiB before an allocation fails.
 */
const RESERVED_MB = 1536;
const LEAST_DATA_MB = 2560;
const STDERR_TAIL = 2000;

export interface ProcessLimits {
  /** A job's time, in milliseconds. */
  wallMs: number;
  /** A job's time from when it starts to recognise text in pictures, in milliseconds. */
  recognitionMs: number;
  /** Resident memory of the child, in MiB. */
  memoryMb: number;
  /** The most UTF-16 units of text that a document may have. */
  outputChars: number;
}

export interface ExtractProcess {
  readonly jobs: number;
  readonly alive: boolean;
  /** Whether it has begun to recognise text in a picture, in any of its jobs: what that took is never given back. */
  readonly recognised: boolean;
  /** Resident memory in MiB, `undefined` where the system does not tell. */
  memory(): Promise<number | undefined>;
  /** Rejects with `ExtractError` for `parser_timeout`, `limits_exceeded` and `parser_crashed`, or the signal's reason. */
  run(job: JobMessage, signal: AbortSignal): Promise<ReplyMessage>;
  /** Ends the child at once; resolves when it is gone. */
  kill(): Promise<void>;
  /** Its last words, for logs. */
  readonly stderr: string;
}

export function startExtractProcess(folder: string, limits: ProcessLimits, clock: Clock): ExtractProcess {
  let jobs = 0;
  /** Until it is told to die or has died: between the two it must not be given another job. */
  let alive = true;
  let recognised = false;
  let stderr = '';
  let waiting: { resolve(reply: ReplyMessage): void; reject(reason: unknown): void; onNotice(): void } | undefined;
  let lastMemory = 0;

  // Outside every scope: the child outlives the tenant's job that happened to start it.
  const child: Subprocess<'ignore', 'ignore', 'pipe'> = runDetached(() =>
    Bun.spawn(['/bin/sh', '-c', `${ulimits(limits)} exec "$0" "$@"`, process.execPath, ENTRY], {
      cwd: folder,
      env: {},
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
      serialization: 'json',
      ipc(message) {
        if (isReply(message)) waiting?.resolve(message);
        else if (isNotice(message)) waiting?.onNotice();
        else waiting?.reject(new ExtractError('parser_crashed', 'The parser broke down on this document.'));
      },
      onExit: () => {
        alive = false;
        waiting?.reject(deathOf());
      },
    }),
  );
  void runDetached(async () => {
    const decoder = new TextDecoder();
    for await (const bytes of child.stderr) stderr = (stderr + decoder.decode(bytes)).slice(-STDERR_TAIL);
  });

  function deathOf(): ExtractError {
    // A parser that runs out of memory seldom gets to say so.
    return lastMemory > limits.memoryMb * 0.7 || /out of memory/i.test(stderr)
      ? tooMuchMemory()
      : new ExtractError('parser_crashed', 'The parser broke down on this document.');
  }

  async function memory(): Promise<number | undefined> {
    // No such file where there is no /proc, or the child has ended.
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
    return kib === undefined ? undefined : Number(kib) / 1024;
  }

  function endNow(): void {
    alive = false;
    child.kill('SIGKILL');
  }

  async function kill(): Promise<void> {
    endNow();
    await child.exited;
  }

  function watchMemory(onExceeded: () => void): () => void {
    let cancel = () => {};
    let stopped = false;
    const look = async () => {
      lastMemory = (await memory()) ?? 0;
      if (stopped) return;
      if (lastMemory > limits.memoryMb) onExceeded();
      else cancel = clock.after(MEMORY_POLL_MS, () => void look());
    };
    cancel = clock.after(MEMORY_POLL_MS, () => void look());
    return () => {
      stopped = true;
      cancel();
    };
  }

  async function run(job: JobMessage, signal: AbortSignal): Promise<ReplyMessage> {
    signal.throwIfAborted();
    if (!alive) throw new Error('the extraction child is gone');
    jobs += 1;
    lastMemory = 0;
    const { promise, resolve, reject } = Promise.withResolvers<ReplyMessage>();
    const end = (reason: unknown) => {
      reject(reason);
      endNow();
    };
    const onAbort = () => end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const endAfter = (ms: number) => clock.after(ms, () => end(tookTooLong(ms)));
    let stopClock = endAfter(limits.wallMs);
    let recognising = false;
    const onNotice = () => {
      // Once a job: a child that says it again gains nothing.
      if (recognising) return;
      recognising = true;
      recognised = true;
      stopClock();
      stopClock = endAfter(limits.recognitionMs);
    };
    waiting = { resolve, reject, onNotice };
    const stopWatching = watchMemory(() => end(tooMuchMemory()));
    try {
      child.send(job);
      return await promise;
    } finally {
      stopWatching();
      stopClock();
      signal.removeEventListener('abort', onAbort);
      waiting = undefined;
    }
  }

  return {
    get jobs() {
      return jobs;
    },
    get alive() {
      return alive;
    },
    get recognised() {
      return recognised;
    },
    get stderr() {
      return stderr;
    },
    memory,
    run,
    kill,
  };
}

/** Shell commands that bound the child; each may be missing or refused on some system, which the watch then makes up for. */
function ulimits({ memoryMb, wallMs, recognitionMs, outputChars }: ProcessLimits): string {
  const kib = Math.max(memoryMb + RESERVED_MB, LEAST_DATA_MB) * 1024;
  const fileBlocks = Math.ceil((outputChars * 3 + 256 * 1024 * 1024) / 512);
  // Parsers use several threads, and a child reads several documents.
  const cpuSeconds = Math.ceil((Math.max(wallMs, recognitionMs) / 1000) * 8);
  return `for l in "-c 0" "-d ${kib}" "-t ${cpuSeconds}" "-f ${fileBlocks}"; do ulimit $l 2>/dev/null; done;`;
}

function tookTooLong(ms: number): ExtractError {
  return new ExtractError('parser_timeout', `Reading the document took longer than ${ms / 1000} seconds.`);
}

function tooMuchMemory(): ExtractError {
  return new ExtractError('limits_exceeded', 'Reading the document takes more memory than one document may have.');
}
