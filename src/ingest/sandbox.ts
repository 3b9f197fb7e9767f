/**
 * Extraction in child processes, so that whatever a document does to a parser, the worker lives on.
 *
 * A few children at most run at once; more requests wait in order. Children start on demand (about 0.1 s) and are kept
 * warm for a while, each for a bounded number of documents and growth. Small plain text and Markdown are read in this
 * process: decoding them runs no parser, and a child would cost more than the work.
 */
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExtractedDocument, Extractor, ExtractRequest } from '../contracts/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Service } from '../kernel/service.ts';
import { ExtractError } from './extract-error.ts';
import { extractFile } from './extract-file.ts';
import { type ExtractProcess, type ProcessLimits, startExtractProcess } from './extract-process.ts';
import { decodeResult } from './extract-protocol.ts';

export interface SandboxOptions {
  logger: Logger;
  limits?: Partial<ProcessLimits>;
  clock?: Clock;
  /** Children at once; one a processor by default, at least two. */
  maxChildren?: number;
  /** Documents that one child reads before another takes its place. */
  maxJobs?: number;
  /** How long a child without work is kept, in milliseconds. */
  idleMs?: number;
  /** Where results pass through, in a folder of their own that goes when the service stops. */
  temporaryFolder?: string;
}

const DEFAULT_LIMITS: ProcessLimits = { wallMs: 120_000, memoryMb: 1024, outputChars: 16_000_000 };
const IN_PROCESS = new Set(['text/plain', 'text/markdown']);
const IN_PROCESS_BYTES = 1024 * 1024;

export function createSandboxedExtractor({
  logger,
  limits: given = {},
  clock = systemClock,
  maxChildren = Math.max(2, availableParallelism()),
  maxJobs = 20,
  idleMs = 30_000,
  temporaryFolder = tmpdir(),
}: SandboxOptions): Extractor & Service {
  const limits = { ...DEFAULT_LIMITS, ...given };
  const children = new Set<ExtractProcess>();
  const idle = new Map<ExtractProcess, () => void>();
  const queue: { take(): void; refuse(reason: unknown): void }[] = [];
  const running = new Set<Promise<unknown>>();
  let busy = 0;
  let folder: Promise<string> | undefined;
  let stopping = new AbortController();
  let results = 0;

  const workFolder = () => {
    folder ??= mkdtemp(join(temporaryFolder, 'dreamhub-extract-'));
    return folder;
  };

  /** Waits for a place among the children; the place must be given back. */
  async function enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (busy < maxChildren) {
      busy += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        queue.splice(queue.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const waiter = {
        take() {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
        refuse: reject,
      };
      queue.push(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  function leave(): void {
    const next = queue.shift();
    if (next) next.take();
    else busy -= 1;
  }

  function takeChild(home: string): ExtractProcess {
    for (const [child, cancel] of idle) {
      idle.delete(child);
      cancel();
      if (child.alive) return child;
      children.delete(child);
    }
    const child = startExtractProcess(home, limits, clock);
    children.add(child);
    return child;
  }

  async function retire(child: ExtractProcess): Promise<void> {
    children.delete(child);
    await child.kill();
  }

  async function giveBack(child: ExtractProcess): Promise<void> {
    const grown = ((await child.memory()) ?? 0) > limits.memoryMb / 2;
    if (!child.alive || grown || child.jobs >= maxJobs || stopping.signal.aborted) return retire(child);
    const cancel = clock.after(idleMs, () => {
      idle.delete(child);
      void retire(child);
    });
    idle.set(child, cancel);
  }

  async function inChild(request: ExtractRequest, signal: AbortSignal): Promise<ExtractedDocument> {
    const home = await workFolder();
    signal.throwIfAborted();
    const child = takeChild(home);
    results += 1;
    const resultPath = join(home, `${results}`);
    try {
      const { path, mediaType, filename } = request;
      const job = { path, mediaType, filename, outputChars: limits.outputChars, resultPath };
      const reply = await child.run(job, signal);
      if (reply.type === 'refused') throw new ExtractError(reply.code, reply.message);
      if (reply.type === 'fault') throw new Error(`extraction could not read or write: ${reply.message}`);
      if (reply.type === 'crashed') {
        logger.warn({ mediaType, error: reply.message }, 'a parser failed on a document');
        throw new ExtractError('parser_crashed', 'The parser broke down on this document.');
      }
      return await readResult(resultPath);
    } catch (error) {
      if (!child.alive && !signal.aborted) {
        logger.warn({ err: error, mediaType: request.mediaType, stderr: child.stderr }, 'an extraction child ended');
      }
      throw error;
    } finally {
      await rm(resultPath, { force: true });
      await giveBack(child);
    }
  }

  async function inTurn(request: ExtractRequest, signal: AbortSignal): Promise<ExtractedDocument> {
    await enter(signal);
    try {
      return await inChild(request, signal);
    } finally {
      leave();
    }
  }

  /** Looks at the size first: what a child leaves is not to be trusted. */
  async function readResult(path: string): Promise<ExtractedDocument> {
    const { size } = await stat(path);
    if (size > limits.outputChars * 8) throw new ExtractError('limits_exceeded', 'The document has too much text.');
    const document = decodeResult(await Bun.file(path).text());
    if (document.text.length > limits.outputChars || !document.text.isWellFormed()) {
      throw new ExtractError('parser_crashed', 'The parser left an unusable text of this document.');
    }
    return document;
  }

  return {
    name: 'extractor',
    async start() {
      if (stopping.signal.aborted) stopping = new AbortController();
    },
    async stop() {
      stopping.abort(new Error('the extractor is stopping'));
      for (const waiter of queue.splice(0)) waiter.refuse(stopping.signal.reason);
      for (const cancel of idle.values()) cancel();
      idle.clear();
      await Promise.all([...children].map(retire));
      await Promise.allSettled(running);
      const used = await folder;
      folder = undefined;
      if (used) await rm(used, { recursive: true, force: true });
    },
    async extract(request, signal) {
      const small = IN_PROCESS.has(request.mediaType) && (await stat(request.path)).size <= IN_PROCESS_BYTES;
      if (small) return extractFile(request, limits);
      const job = inTurn(request, AbortSignal.any([signal, stopping.signal]));
      running.add(job);
      return job.finally(() => running.delete(job));
    },
  };
}
