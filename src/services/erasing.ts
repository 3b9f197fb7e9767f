/**
 * Carries out orders to erase (`erasures.ts` takes them). An order: due → (a worker leases it) attempted, again after a pause
 * until nothing is left → finished → looked at once more an hour later, for what was on its way at that moment (an upload
 * whose transaction was still running, an attempt of a task) → settled, and from then on it names nobody.
 *
 * Each step finds what is left by itself, so a process may die anywhere in between. Rows go in small transactions, each of
 * which renews the lease, adds to the report, and notes where the blobs of its rows are; whoever lost the lease changes
 * nothing any more. Blobs go after that from the notes: none is left behind by a crash, and the second look removes what
 * was written meanwhile. Everything of a tenant goes with its row in the end (`repositories/erasure-rows.ts`).
 */
import type { BlobStore } from '../contracts/index.ts';
import type { Database, SharedTransaction, Sql } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, newTraceId, runAs } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import type { Control } from '../realtime/control.ts';
import type { Forgetting } from '../redis/forget.ts';
import {
  deleteAccount,
  deleteEventsOf,
  deleteOwnRows,
  deleteSomeChunks,
  deleteTenant,
  deleteVisibleRows,
  eraseDocuments,
  findHeir,
  giveTo,
  listAccountIds,
  listDocumentsToErase,
  listInheritedTables,
  listOwnBlobs,
  listOwnTables,
} from '../repositories/erasure-rows.ts';
import {
  claimErasure,
  countOverdueErasures,
  type DueErasure,
  finishErasure,
  listFolders,
  noteFolders,
  postponeErasure,
  recordErased,
  releaseErasure,
  settleErasure,
} from '../repositories/erasures.ts';
import { dischargeTasks, lockWithTasks } from '../repositories/tasks.ts';
import { originalKey, sourceFileKey, tenantFolders, textsFolder, uploadFolder } from '../storage/blob-keys.ts';
import { keepLease } from './lease.ts';
import { Overtaken, untilNotOvertaken } from './overtaken.ts';

export interface Erasing extends Service {
  /** Works on one order that is due; false where none is. Used by the loop, and by tests that wait for it. */
  round(signal: AbortSignal): Promise<boolean>;
}

export interface ErasingOptions {
  database: Database;
  blobs: Pick<BlobStore, 'clear'>;
  forgetting: Forgetting;
  control: Pick<Control, 'endUser' | 'endTenant'>;
  clock: Clock;
  logger: Logger;
  everyMs?: number;
  leaseMs?: number;
  /** After which what was on its way is looked for. Longer than an upload or an attempt lives without a sign. */
  settleMs?: number;
}

type Counts = Record<string, number>;

interface Order extends DueErasure {
  /** Aborts when the process stops, or has lost the order. */
  readonly signal: AbortSignal;
}

const DOCUMENTS_AT_ONCE = 20;
const CHUNKS_AT_ONCE = 2_000;
const FOLDERS_AT_ONCE = 200;
const NOBODY = '00000000-0000-0000-0000-000000000000';

/** Another worker has the order. */
class Lost extends Error {
  override readonly name = 'Lost';
}

export function createErasing(options: ErasingOptions): Erasing {
  const { database, blobs, forgetting, control, clock, logger } = options;
  const { everyMs = 1_000, leaseMs = 20_000, settleMs = 3_600_000 } = options;

  /** A transaction in the running scope, and with it what the report says and the lease. */
  async function step<T>(order: Order, work: (sql: Sql) => Promise<T>, countsOf: (value: T) => Counts): Promise<T> {
    return stepOf(order, (shared) => shared.within(currentScope(), work), countsOf);
  }

  function stepOf<T>(
    order: Order,
    work: (shared: SharedTransaction) => Promise<T>,
    countsOf: (value: T) => Counts,
  ): Promise<T> {
    order.signal.throwIfAborted();
    return database.together(
      async (shared) => {
        const value = await work(shared);
        const isOurs = await shared.system((sql) => recordErased(sql, order, { counts: countsOf(value), leaseMs }));
        if (!isOurs) throw new Lost();
        return value;
      },
      { patient: true },
    );
  }

  /** Until a batch finds nothing. */
  async function drain(order: Order, kind: string, batch: (sql: Sql) => Promise<number>): Promise<void> {
    for (let found = 1; found > 0; ) found = await step(order, batch, (count) => ({ [kind]: count }));
  }

  async function eraseBatch(order: Order, ids: readonly string[]): Promise<void> {
    for (const id of ids) await drain(order, 'chunks', (sql) => deleteSomeChunks(sql, id, CHUNKS_AT_ONCE));
    await untilNotOvertaken(() =>
      stepOf(
        order,
        async (shared) => {
          const gone = await shared.within(currentScope(), async (sql) => {
            const unfinished = await lockWithTasks(sql, ids);
            if (!unfinished) throw new Overtaken();
            const bytes = unfinished.reduce((sum, { size }) => sum + size, 0);
            if (unfinished.length > 0) await dischargeTasks(sql, unfinished.length, bytes);
            return eraseDocuments(sql, ids);
          });
          const folders = gone.flatMap(({ id, originals }) => [textsFolder(id), ...originals.map(originalKey)]);
          await shared.system((sql) => noteFolders(sql, order.id, folders));
          return gone;
        },
        (gone) => ({ documents: gone.length }),
      ),
    );
  }

  async function eraseDocumentsOfScope(order: Order, onlyPrivate: boolean): Promise<void> {
    for (;;) {
      const ids = await database.read((sql) => listDocumentsToErase(sql, { onlyPrivate, limit: DOCUMENTS_AT_ONCE }));
      if (ids.length === 0) return;
      await eraseBatch(order, ids);
    }
  }

  /** Of the documents whose rows are gone, as the notes of their blobs name them. */
  async function documentsNoted(order: Order): Promise<Set<string>> {
    const ids = new Set<string>();
    const prefix = textsFolder('');
    for await (const folder of notes(order)) if (folder.startsWith(prefix)) ids.add(folder.slice(prefix.length));
    return ids;
  }

  async function* notes(order: Order): AsyncGenerator<string> {
    for (let after = ''; ; ) {
      const from = after;
      const page = await database.system((sql) => listFolders(sql, order.id, { after: from, limit: FOLDERS_AT_ONCE }));
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < FOLDERS_AT_ONCE) return;
      after = last;
    }
  }

  async function clear(order: Order, folder: string): Promise<void> {
    order.signal.throwIfAborted();
    const count = await blobs.clear(folder);
    if (count > 0)
      await step(
        order,
        async () => count,
        (blobs) => ({ blobs }),
      );
  }

  /** In the scope of the user who goes. */
  async function eraseUser(order: Order): Promise<void> {
    const { of_tenant: tenantId, of_user: userId } = order;
    await eraseDocumentsOfScope(order, true);
    await stepOf(
      order,
      async (shared) => {
        const { uploads, sources } = await shared.within(currentScope(), listOwnBlobs);
        await shared.system((sql) =>
          noteFolders(sql, order.id, [...uploads.map(uploadFolder), ...sources.map(sourceFileKey)]),
        );
      },
      () => ({}),
    );
    for (const table of await database.read(listOwnTables)) {
      await drain(order, table.name, (sql) => deleteOwnRows(sql, table));
    }
    const heir = await database.read(findHeir);
    if (heir !== undefined) {
      for (const table of await database.read(listInheritedTables)) {
        await drain(order, `${table.name}_given`, (sql) => giveTo(sql, table, heir));
      }
    }
    const documents = await documentsNoted(order);
    await stepOf(
      order,
      (shared) =>
        shared.system(async (sql) => ({
          events: await deleteEventsOf(sql, { tenantId, userId }, [...documents]),
          accounts: await deleteAccount(sql, { tenantId, userId }),
        })),
      (counts) => counts,
    );
    const names = await forgetting.user(tenantId, userId, documents);
    await step(
      order,
      async () => names,
      (count) => ({ redis: count }),
    );
    for await (const folder of notes(order)) await clear(order, folder);
    await control.endUser(userId, 'erased');
  }

  /** In the scope of nobody; entered for each account, since only its user's scope sees what is private. */
  async function eraseTenant(order: Order): Promise<void> {
    const { of_tenant: tenantId } = order;
    const accounts = await database.system((sql) => listAccountIds(sql, tenantId));
    for (const userId of [...accounts, NOBODY]) {
      await runAs({ tenantId, userId, traceId: newTraceId() }, async () => {
        await eraseDocumentsOfScope(order, false);
        for (const table of ['lexical_segments', 'conversations'] as const) {
          await drain(order, table, (sql) => deleteVisibleRows(sql, table));
        }
      });
    }
    await stepOf(
      order,
      (shared) => shared.system((sql) => deleteTenant(sql, tenantId)),
      (tenants) => ({ tenants, ...(tenants > 0 && { accounts: accounts.length }) }),
    );
    const names = await forgetting.tenant(tenantId);
    await step(
      order,
      async () => names,
      (count) => ({ redis: count }),
    );
    for (const folder of tenantFolders()) await clear(order, folder);
    await control.endTenant('erased');
  }

  async function attempt(order: Order): Promise<void> {
    const { of_tenant: tenantId, of_user: userId, whole } = order;
    const scope = { tenantId, userId: whole ? NOBODY : userId, traceId: newTraceId() };
    await runAs(scope, () => (whole ? eraseTenant(order) : eraseUser(order)));
    const isSecond = order.finished_at !== null;
    await database.system((sql) => (isSecond ? settleErasure(sql, order) : finishErasure(sql, order, settleMs)));
    logger.info({ event: isSecond ? 'erasure.settled' : 'erasure.finished', erasure_id: order.id }, 'audit');
  }

  /** Rejects when the order is somebody else's, or `signal` aborts: clearing a bucket takes longer than a lease. */
  async function watch(order: Order): Promise<never> {
    const renew = async () => {
      const isOurs = await database.system((sql) => recordErased(sql, order, { counts: {}, leaseMs }));
      return isOurs ? { cancel_requested: false } : undefined;
    };
    await keepLease({ renew, leaseMs, clock, logger, signal: order.signal });
    throw new Lost();
  }

  async function round(signal: AbortSignal): Promise<boolean> {
    const due = await database.system((sql) => claimErasure(sql, leaseMs));
    if (!due) return false;
    const over = new AbortController();
    const order: Order = { ...due, signal: AbortSignal.any([signal, over.signal]) };
    const work = attempt(order);
    try {
      await Promise.race([work, watch(order)]);
    } catch (error) {
      over.abort(error);
      // The step that runs is let end.
      await work.catch(() => undefined);
      if (signal.aborted) await database.system((sql) => releaseErasure(sql, order));
      else if (!(error instanceof Lost)) {
        logger.error({ err: error, erasure_id: order.id }, `an erasure is tried again: ${messageOf(error)}`);
        await database.system((sql) => postponeErasure(sql, order));
      }
    } finally {
      over.abort(new Lost());
    }
    return true;
  }

  const loop = createLoop({
    name: 'erasing',
    everyMs,
    clock,
    logger,
    async round(signal) {
      if (await round(signal)) return true;
      const overdue = await database.system(countOverdueErasures);
      if (overdue > 0) logger.error({ overdue }, 'erasures are past their deadline');
      return false;
    },
  });
  return { name: loop.name, start: loop.start, stop: loop.stop, round };
}
