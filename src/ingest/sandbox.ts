/**
 * Extraction in child processes, so that whatever a document does to a parser, the worker lives on.
 *
 * A few children at most run at once; more requests wait, in fair order among tenants (`kernel/fair-places.ts`). A child
 * cannot give its place up in the middle of a document, so one that holds it for long is overdue: another tenant's document
 * gets a child beside it, up to twice as many. Nobody's turn passes while a child works or is waited for.
 * Children start on demand (about 0.1 s) and are kept warm for a while, each for a bounded number of documents and
 * growth. Small plain text and Markdown are read in this process: decoding them runs no parser, and a child would cost
 * more than the work.
 */
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExtractedFile, Extractor, ExtractRequest } from '../contracts/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { scopeIfAny } from '../kernel/context.ts';
import { createFairPlaces } from '../kernel/fair-places.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Service } from '../kernel/service.ts';
import { away } from '../kernel/turns.ts';
import { ExtractError } from './extract-error.ts';
import { type ExtractProcess, type ProcessLimits, startExtractProcess } from './extract-process.ts';
import { leaveResult, type ResultLimits, readResult } from './extract-result.ts';
import { tooLarge } from './text-output.ts';
import { textPieces } from './text-pieces.ts';

export interface SandboxOptions {
  logger: Logger;
  limits?: Partial<ProcessLimits & ResultLimits>;
  clock?: Clock;
  /** Children at once, but for overdue ones; one a processor by default, at least two. */
  maxChildren?: number;
  /** Documents that one child reads before another takes its place. */
  maxJobs?: number;
  /** How long a child without work is kept, in milliseconds. */
  idleMs?: number;
  /** Where results pass through, in a folder of their own that goes when the service stops. */
  temporaryFolder?: string;
}

const DEFAULT_LIMITS: ProcessLimits & ResultLimits = {
  wallMs: 120_000,
  recognitionMs: 600_000,
  memoryMb: 1024,
  // Text of half a gigabyte of ASCII, with something to spare.
  outputChars: 600_000_000,
  heldChars: 16_000_000,
};
const IN_PROCESS = new Set(['text/plain', 'text/markdown']);
const IN_PROCESS_BYTES = 1024 * 1024;
/** How long one tenant's document may hold a child that another's waits for. */
const PATIENCE_MS = 100;

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
  limits.heldChars = Math.min(limits.heldChars, limits.outputChars);
  const children = new Set<ExtractProcess>();
  const idle = new Map<ExtractProcess, () => void>();
  const running = new Set<Promise<unknown>>();
  const places = createFairPlaces({ places: maxChildren, clock, patienceMs: PATIENCE_MS });
  let folder: Promise<string> | undefined;
  let stopping = new AbortController();
  let results = 0;

  const workFolder = () => {
    folder ??= mkdtemp(join(temporaryFolder, 'dreamhub-extract-'));
    return folder;
  };

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

  async function inChild(job: Job, home: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const child = takeChild(home);
    try {
      const { outputChars, heldChars } = limits;
      const reply = await child.run({ ...job, outputChars, heldChars }, signal);
      if (reply.type === 'refused') throw new ExtractError(reply.code, reply.message);
      if (reply.type === 'fault') throw new Error(`extraction could not read or write: ${reply.message}`);
      if (reply.type === 'crashed') {
        logger.warn({ mediaType: job.mediaType, error: reply.message }, 'a parser failed on a document');
        throw new ExtractError('parser_crashed', 'The parser broke down on this document.');
      }
    } catch (error) {
      if (!child.alive && !signal.aborted) {
        logger.warn({ err: error, mediaType: job.mediaType, stderr: child.stderr }, 'an extraction child ended');
      }
      throw error;
    } finally {
      await giveBack(child);
    }
  }

  async function inTurn(job: Job, home: string, signal: AbortSignal): Promise<void> {
    // Says who is next, and nothing of what may be read.
    const place = await places.enter(scopeIfAny()?.tenantId ?? '', { signal });
    try {
      await inChild(job, home, signal);
    } finally {
      places.leave(place);
    }
  }

  async function extractFile(
    { path, mediaType, filename }: ExtractRequest,
    given: AbortSignal,
  ): Promise<ExtractedFile> {
    const signal = AbortSignal.any([given, stopping.signal]);
    signal.throwIfAborted();
    const small = IN_PROCESS.has(mediaType) && (await stat(path)).size <= IN_PROCESS_BYTES;
    const home = await workFolder();
    results += 1;
    const folder = join(home, `${results}`);
    const release = () => rm(folder, { recursive: true, force: true });
    const job = { path, mediaType, filename: filename.slice(0, 1000), folder };
    try {
      await mkdir(folder, { mode: 0o700 });
      if (small) await leaveResult({ ...job, ...limits }, { onRecognising: () => {} });
      else await away(() => inTurn(job, home, signal));
      return { ...(await checked(folder)), release };
    } catch (error) {
      await release();
      throw error;
    }
  }

  async function checked(folder: string): Promise<Omit<ExtractedFile, 'release'>> {
    try {
      return await readResult(folder, limits);
    } catch (error) {
      logger.warn({ err: error }, 'an extraction child left an unusable result');
      throw new ExtractError('parser_crashed', 'The parser broke down on this document.', error);
    }
  }

  /** Keeps a job in `running` until it ends, so that stopping waits for it. */
  function track<T>(job: Promise<T>): Promise<T> {
    running.add(job);
    return job.finally(() => running.delete(job));
  }

  return {
    name: 'extractor',
    async start() {
      if (stopping.signal.aborted) stopping = new AbortController();
    },
    async stop() {
      stopping.abort(new Error('the extractor is stopping'));
      for (const cancel of idle.values()) cancel();
      idle.clear();
      await Promise.all([...children].map(retire));
      await Promise.allSettled(running);
      const used = await folder;
      folder = undefined;
      if (used) await rm(used, { recursive: true, force: true });
    },
    extractFile: (request, signal) => track(extractFile(request, signal)),
    async extract(request, signal) {
      const { title, pages, headings, chars, textPath, release } = await track(extractFile(request, signal));
      try {
        if (chars > limits.heldChars) throw tooLarge(limits.heldChars);
        const text = (await Array.fromAsync(textPieces({ textPath, chars }))).join('');
        return { text, title, pages, headings };
      } finally {
        await release();
      }
    },
  };
}

type Job = ExtractRequest & { folder: string };
