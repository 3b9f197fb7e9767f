/**
 * Syncs sources: pulls what they have through the same acceptance as every upload, item by item. What has not changed is
 * not fetched and not written; what is gone is removed, once the whole list is known; an item that fails is noted, and the
 * rest goes on.
 *
 * States of a sync: claimed (a number taken, a lease that is renewed) → ended, handed back (this process stops), or lost
 * (its lease has expired). Each item is recorded in the transaction that accepts its document, under the sync's number: a
 * process that dies loses nothing, and one that was thought dead adds nothing. Whoever begins anew skips what is recorded.
 */
import type {
  BlobStore,
  Kept,
  KnownItem,
  SourceContent,
  SourceItem,
  SourceProvider,
  SourceRun,
  SourceSession,
  StagedBlob,
  SyncCounts,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { SourceError, SourceUnavailable } from '../ingest/sources/source-error.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, newTraceId, runAs } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Sealer } from '../kernel/sealing.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { isStorable } from '../kernel/text/storable.ts';
import {
  type ClaimedSource,
  claimSources,
  deleteItem,
  endSync,
  getSyncWork,
  handBackSync,
  holdsSync,
  loadItems,
  renewSync,
  type StoredItem,
  type SyncWork,
  saveItem,
} from '../repositories/sources.ts';
import { sourceFileKey } from '../storage/blob-keys.ts';
import { toFilename } from '../storage/filename.ts';
import type { Documents } from './documents.ts';
import { keepLease } from './lease.ts';
import { openSecrets } from './source-settings.ts';
import type { Uploads } from './uploads.ts';

export interface Syncs extends Service {
  /** Syncs what is due now; resolves when all of it has ended, with their number. */
  sync(): Promise<number>;
}

export interface SyncsOptions {
  database: Database;
  blobs: BlobStore;
  uploads: Pick<Uploads, 'acceptStaged'>;
  documents: Pick<Documents, 'remove'>;
  providers: ReadonlyMap<string, SourceProvider>;
  /** Undefined: no credentials can be kept here. */
  sealer: Sealer | undefined;
  clock: Clock;
  logger: Logger;
  maxUploadBytes: number;
  everyMs?: number;
  leaseMs?: number;
  /** At once, of all tenants; of one it is one. */
  concurrency?: number;
}

const LEASE_MS = 60_000;
const RETRY = { baseMs: 60_000, maxMs: 6 * 3_600_000 };
const MOST_FAILURES_UNASKED = 5;
const MAX_KEY_BYTES = 2_000;
const MOST_ITEMS = 100_000;
const MAX_MESSAGE = 500;
/** What providers may keep of all items of a source together: it is read as a whole when a sync begins. */
const MAX_STATE_BYTES = 64 * 1024 * 1024;
/** How often the same item waits for room in the queue, or for what we stand on. */
const MOST_WAITS = 100;
const WAIT_MS = 5_000;
/** Behind what people wait for. */
const PRIORITY = '3';

const sizeOf = (state: Kept): number => (state === null ? 0 : Buffer.byteLength(JSON.stringify(state)));

/** What others write, as a database can keep it. */
const storable = (text: string): string => text.toWellFormed().replaceAll('\0', ' ');

/** For the person who added the source. */
function messageFor(error: unknown): string {
  const isTellable = error instanceof SourceError || error instanceof AppError;
  return storable((isTellable ? error.message : 'Something went wrong on our side.').slice(0, MAX_MESSAGE));
}

/** Another sync has begun, or the source is gone. */
class Lost extends Error {}

export function createSyncs(options: SyncsOptions): Syncs {
  const { database, blobs, uploads, documents, providers, sealer, clock, logger, maxUploadBytes } = options;
  const { everyMs = 5_000, leaseMs = LEASE_MS, concurrency = 4 } = options;
  /** Syncs that run, by tenant. */
  const running = new Map<string, Promise<void>>();
  let stopping = new AbortController();

  /** One sync's view of its source. */
  interface Sync {
    claim: ClaimedSource;
    work: SyncWork;
    session: SourceSession;
    known: Map<string, StoredItem>;
    counts: SyncCounts;
    /** Of what is kept of items, in all. */
    stateBytes: number;
    signal: AbortSignal;
  }

  async function fileOf(id: string): Promise<AsyncIterable<Uint8Array>> {
    try {
      return await blobs.read(sourceFileKey(id));
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'not_found')) throw error;
      throw new SourceUnavailable('No file was sent to this source yet.');
    }
  }

  async function save({ claim }: Sync, item: StoredItem): Promise<void> {
    await database.tenant(async (sql) => {
      if (!(await holdsSync(sql, claim))) throw new Lost();
      await saveItem(sql, claim.id, item);
    });
  }

  async function stage(content: SourceContent, signal: AbortSignal): Promise<StagedBlob> {
    return blobs.stage(content.body, { maxBytes: maxUploadBytes, signal });
  }

  /** What is kept of an item; nothing where there is no room, and then it is fetched again by the next sync, as if unknown. */
  function keptOf(sync: Sync, key: string, { fingerprint, state = null }: SourceContent): KnownItem {
    const before = sizeOf(sync.known.get(key)?.state ?? null);
    const bytes = sync.stateBytes - before + sizeOf(state);
    const fits = bytes <= MAX_STATE_BYTES;
    sync.stateBytes = fits ? bytes : sync.stateBytes - before;
    return fits ? { fingerprint, state } : { fingerprint: null, state: null };
  }

  async function take(sync: Sync, { key }: SourceItem, content: SourceContent): Promise<void> {
    const { claim, work, known, counts, signal } = sync;
    const staged = await stage(content, signal);
    const { metadata = {}, title } = content;
    const { fingerprint, state } = keptOf(sync, key, content);
    const { receipt, created } = await uploads.acceptStaged({
      staged,
      filename: toFilename(content.filename),
      fields: {
        source_type: work.kind,
        visibility: work.visibility,
        metadata: JSON.stringify(metadata, (_, value: unknown) =>
          typeof value === 'string' ? storable(value) : value,
        ),
        priority: PRIORITY,
        ...(title !== undefined && { title: storable(title.slice(0, 500)) }),
      },
      origin: { item: key, sourceId: claim.id, parentId: null },
      async within(sql, { document_id: documentId }) {
        if (!(await holdsSync(sql, claim))) throw new Lost();
        await saveItem(sql, claim.id, { key, fingerprint, state, documentId, error: null });
      },
    });
    if (!created) counts.unchanged += 1;
    else if (known.get(key)?.documentId === receipt.document_id) counts.updated += 1;
    else counts.added += 1;
  }

  /** Fetches an item and takes it in; waits where there is no room for it now. False where it is gone. */
  async function pull(sync: Sync, item: SourceItem): Promise<boolean> {
    for (let waits = 0; ; waits++) {
      const content = await sync.session.fetch(item);
      if (content === 'gone') return false;
      if (content === 'unchanged') {
        sync.counts.unchanged += 1;
        return true;
      }
      try {
        await take(sync, item, content);
        return true;
      } catch (error) {
        if (!(error instanceof AppError && error.retryable) || error.kind === 'internal') throw error;
        if (waits >= MOST_WAITS) throw new SourceUnavailable(error.message, { cause: error });
        await clock.sleep(error.retryAfterMs ?? WAIT_MS, sync.signal);
      }
    }
  }

  async function noteFailure(sync: Sync, { key }: SourceItem, error: unknown): Promise<void> {
    sync.counts.failed += 1;
    const isTellable = error instanceof SourceError || error instanceof AppError;
    if (!isTellable) logger.error({ err: error, source: sync.claim.id, key }, `an item failed: ${messageOf(error)}`);
    const message = messageFor(error);
    const before = sync.known.get(key);
    // Without a fingerprint the next sync fetches it again; what was taken in before stays.
    const kept = { state: before?.state ?? null, documentId: before?.documentId ?? null };
    await save(sync, { key, fingerprint: null, ...kept, error: message });
  }

  async function pullAll(sync: Sync): Promise<void> {
    const { session, known, counts, signal } = sync;
    const seen = new Set<string>();
    for await (const item of session.list()) {
      signal.throwIfAborted();
      if (seen.has(item.key)) continue;
      if (item.key === '' || Buffer.byteLength(item.key) > MAX_KEY_BYTES || !isStorable(item.key)) {
        // It has no name that could be kept, and so no line of its own.
        counts.failed += 1;
        continue;
      }
      if (seen.size >= MOST_ITEMS) throw new SourceUnavailable(`It has more than the ${MOST_ITEMS} items allowed.`);
      const before = known.get(item.key);
      if (before && before.error === null && item.fingerprint !== null && before.fingerprint === item.fingerprint) {
        seen.add(item.key);
        counts.unchanged += 1;
        continue;
      }
      try {
        if (await pull(sync, item)) seen.add(item.key);
      } catch (error) {
        if (signal.aborted || error instanceof Lost || error instanceof SourceUnavailable) throw error;
        seen.add(item.key);
        await noteFailure(sync, item, error);
      }
    }
    // The list is whole: what it does not name is gone.
    for (const [key, item] of known) {
      signal.throwIfAborted();
      if (!seen.has(key)) await removeItem(sync, key, item);
    }
  }

  async function removeItem({ claim, counts }: Sync, key: string, { documentId }: StoredItem): Promise<void> {
    if (!(await database.tenant((sql) => holdsSync(sql, claim)))) throw new Lost();
    if (documentId !== null) {
      try {
        await documents.remove(documentId);
      } catch (error) {
        if (!(error instanceof AppError && error.kind === 'not_found')) throw error;
      }
    }
    await database.tenant(async (sql) => {
      if (!(await holdsSync(sql, claim))) throw new Lost();
      await deleteItem(sql, claim.id, key);
    });
    counts.removed += 1;
  }

  async function attempt(claim: ClaimedSource, work: SyncWork, signal: AbortSignal): Promise<void> {
    const provider = providers.get(work.kind);
    if (!provider) throw new SourceUnavailable(`Sources of the kind ${work.kind} are not known here.`);
    const known = new Map(
      (await database.tenant((sql) => loadItems(sql, claim.id))).map((item) => [item.key, item] as const),
    );
    const run: SourceRun = {
      settings: openSecrets(sealer, { id: claim.id, ...work }),
      tenantId: currentScope().tenantId,
      cursor: work.cursor,
      maxBytes: maxUploadBytes,
      known(key) {
        const item = known.get(key);
        // What failed is asked for as if it had never been seen.
        return item?.error === null ? item : item && { fingerprint: null, state: item.state };
      },
      keys: () => known.keys(),
      file: () => fileOf(claim.id),
      signal,
    };
    const counts: SyncCounts = { added: 0, updated: 0, unchanged: 0, removed: 0, failed: 0 };
    const session = await provider.open(run);
    try {
      if (session.unchanged) counts.unchanged = known.size;
      else {
        const stateBytes = known.values().reduce((sum, { state }) => sum + sizeOf(state), 0);
        await pullAll({ claim, work, session, known, counts, stateBytes, signal });
      }
      await end(claim, work, {
        error: null,
        counts,
        cursor: counts.failed === 0 ? (session.cursor?.() ?? null) : null,
      });
    } finally {
      await session.close?.();
    }
  }

  async function end(
    claim: ClaimedSource,
    { failures: before, intervalMinutes, dueAt }: SyncWork,
    {
      error,
      retryAfterMs = 0,
      ...result
    }: {
      error: string | null;
      counts: SyncCounts | null;
      cursor?: SyncWork['cursor'];
      retryAfterMs?: number | undefined;
    },
  ): Promise<void> {
    const failures = error === null ? 0 : before + 1;
    const intervalMs = intervalMinutes === null ? null : intervalMinutes * 60_000;
    let nextMs = intervalMs;
    if (error !== null && (intervalMs !== null || failures < MOST_FAILURES_UNASKED)) {
      const pauseMs = Math.min(RETRY.baseMs * 2 ** (failures - 1), RETRY.maxMs);
      nextMs = Math.max(Math.min(pauseMs, intervalMs ?? pauseMs), retryAfterMs);
    }
    await database.tenant((sql) => endSync(sql, claim, { error, failures, nextMs, dueAt, ...result }));
  }

  async function run(claim: ClaimedSource): Promise<void> {
    const ended = new AbortController();
    const signal = AbortSignal.any([stopping.signal, ended.signal]);
    const renew = () => database.tenant((sql) => renewSync(sql, claim, leaseMs));
    const lease = keepLease({ renew, leaseMs, clock, logger, signal }).then(
      () => ended.abort(new Lost()),
      () => undefined,
    );
    const work = await database.tenant((sql) => getSyncWork(sql, claim));
    try {
      if (work) await attempt(claim, work, signal);
    } catch (error) {
      const reason = signal.aborted ? signal.reason : error;
      if (stopping.signal.aborted) await database.tenant((sql) => handBackSync(sql, claim));
      else if (!(reason instanceof Lost) && work) await failed(claim, work, error);
    } finally {
      ended.abort(new Lost());
      await lease;
    }
  }

  async function failed(claim: ClaimedSource, work: SyncWork, error: unknown): Promise<void> {
    const isTellable = error instanceof SourceError || error instanceof AppError;
    logger[isTellable ? 'warn' : 'error']({ err: error, source: claim.id }, `a sync failed: ${messageOf(error)}`);
    const retryAfterMs = error instanceof SourceError ? error.retryAfterMs : undefined;
    await end(claim, work, { error: messageFor(error), counts: null, retryAfterMs });
  }

  function begin(claim: ClaimedSource): Promise<void> {
    const { tenantId, userId, id } = claim;
    const done = runAs({ tenantId, userId, traceId: newTraceId() }, () => run(claim))
      .catch((error: unknown) => {
        logger.error({ err: error, tenant_id: tenantId, source: id }, `a sync was not recorded: ${messageOf(error)}`);
      })
      .finally(() => running.delete(tenantId));
    running.set(tenantId, done);
    return done;
  }

  async function fill(): Promise<Promise<void>[]> {
    const limit = concurrency - running.size;
    if (limit <= 0) return [];
    const claimed = await database.system((sql) => claimSources(sql, { leaseMs, limit, without: [...running.keys()] }));
    return claimed.map(begin);
  }

  const loop = createLoop({
    name: 'source-syncs',
    everyMs,
    clock,
    logger,
    async round() {
      for (const done of await fill()) void done.then(() => loop.wake());
    },
  });

  return {
    name: loop.name,
    async start() {
      if (stopping.signal.aborted) stopping = new AbortController();
      await loop.start();
    },
    async stop() {
      stopping.abort(new Error('syncs are stopping'));
      await loop.stop();
      await Promise.all(running.values());
    },
    async sync() {
      const begun = await fill();
      await Promise.all(begun);
      return begun.length;
    },
  };
}
