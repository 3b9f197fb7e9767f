/**
 * Extraction in child processes, so that whatever a document does to a parser, the worker lives on.
 *
 * A few children at most run at once; more requests wait, in fair order among tenants (`kernel/fair-places.ts`). A child
 * cannot give its place up in the middle of a document, so one that holds it for long is overdue: another tenant's document
 * gets a child beside it, up to twice as many. Nobody's turn passes while a child works or is waited for.
 * Children start on demand (about 0.1 s) and are kept warm for a while, each for a bounded number of documents and
 * growth. Small plain text and Markdown are read in this process: decoding them runs no parser, and a child would cost
 * more than the work.
 *
 * A machine without room for results says nothing about a document: that is `unavailable`, for as long as it lasts. A child that
 * says so is not believed (it has read a stranger's file): its folder is tried from here.
 */
import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExtractedFile, Extractor, ExtractRequest } from '../contracts/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { scopeIfAny } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
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
/** How much of its memory limit a child may hold and be given another document. */
const KEPT = 1 / 2;
/**
 * What recognition took of a large picture (an ordinary one leaves 100 to 200 MiB) stays taken, and the next large one would
 * find no room and be called damaged.
 */
const KEPT_AFTER_RECOGNITION = 1 / 4;
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
  /** Where the folders of all results are. */
  let root: Promise<string> | undefined;
  let stopping = new AbortController();
  let results = 0;

  function forget(one: Promise<string> | undefined): void {
    if (root === one) root = undefined;
  }

  /** An empty folder for a result, and the one that it is in. Whoever tidies temporary files up may have taken ours. */
  async function newFolder(again = true): Promise<{ home: string; folder: string }> {
    root ??= mkdtemp(join(temporaryFolder, 'dreamhub-extract-'));
    const own = root;
    try {
      const home = await own;
      results += 1;
      const folder = join(home, `${results}`);
      await mkdir(folder, { mode: 0o700 });
      return { home, folder };
    } catch (error) {
      forget(own);
      if (again && hasCode(error, ['ENOENT'])) return newFolder(false);
      throw noRoom(error);
    }
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
    const share = child.recognised ? KEPT_AFTER_RECOGNITION : KEPT;
    const grown = ((await child.memory()) ?? 0) > limits.memoryMb * share;
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
      if (reply.type === 'fault') {
        await assertRoom(job.folder);
        throw new Error(`extraction could not read or write: ${reply.message}`);
      }
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
    const { home, folder } = await newFolder();
    const release = () => rm(folder, { recursive: true, force: true });
    const job = { path, mediaType, filename: filename.slice(0, 1000), folder };
    try {
      if (small) await leaveResult({ ...job, ...limits }, { onRecognising: () => {} });
      else await away(() => inTurn(job, home, signal));
      return { ...(await checked(folder)), release };
    } catch (error) {
      await release();
      throw hasCode(error, NO_ROOM) ? noRoom(error) : error;
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
      const own = root;
      const used = await own?.catch(() => undefined);
      forget(own);
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

/** What a machine lacks: room, files, processes, memory for one more. */
const NO_ROOM = ['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'EMFILE', 'ENFILE', 'EIO', 'EAGAIN', 'ENOMEM'];
const NO_ROOM_MS = 30_000;
/** More than a page of any file system. */
const PROBE_BYTES = 64 * 1024;

const hasCode = (error: unknown, codes: readonly string[]) =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

const noRoom = (cause: unknown) =>
  new AppError('unavailable', 'There is no room to read documents in at the moment.', {
    cause,
    retryAfterMs: NO_ROOM_MS,
  });

/** Throws `unavailable` where nothing can be written into a folder. */
async function assertRoom(folder: string): Promise<void> {
  try {
    await writeFile(join(folder, 'probe'), new Uint8Array(PROBE_BYTES));
  } catch (error) {
    throw noRoom(error);
  }
}
