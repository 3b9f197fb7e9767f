/**
 * Group commit: what several callers do at about the same time, each in its own scope, goes into one transaction.
 *
 * Batches make themselves: while one is on its way the next gathers, so that whoever comes alone leaves at once and is a
 * batch of one, and the busier it is the more share a transaction. States of an item: waiting → on its way → done, or alone →
 * done.
 *
 * Nobody is harmed by the company. Whether an item is to be done, each row says for itself. Where a batch fails, as it does
 * where one of them would have to wait for a lock, each of its items is done once more alone, in a transaction of its own that
 * waits. A batch that takes long does not hold up the next one for longer than `patienceMs`.
 *
 * Where the outcome of a batch is unknown, because its connection was lost, an item that finds nothing to do alone may have
 * been done by the batch: it is rejected, as it would have been had it been alone from the start.
 */
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runDetached, type Scope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Database, SharedTransaction, Sql } from './database.ts';

export interface Member<Item> {
  readonly item: Item;
  readonly scope: Scope;
}

export interface GroupCommitOptions<Item, Result> {
  database: Pick<Database, 'together'>;
  clock: Clock;
  /**
   * Does the items, in the order of tenants and ids, so that two batches take their locks in one order. Results in the same
   * order; undefined for what was not to be done.
   */
  run(shared: SharedTransaction, members: readonly Member<Item>[]): Promise<readonly (Result | undefined)[]>;
  /** Milliseconds after which a batch no longer holds up the next. */
  patienceMs?: number;
  /** Most items of a batch. */
  most?: number;
  /** Tenants share no batch, and none waits for another's: for what reads and writes their content. Default: false. */
  apart?: boolean;
}

/** In the ambient scope. Items of one id never share a batch: a later one sees what the earlier one did. */
export type GroupCommit<Item, Result> = (item: Item) => Promise<Result | undefined>;

const PATIENCE_MS = 250;
const MOST = 64;

/**
 * The members of each scope in that scope, one scope after the other: what they have in common is done by one statement. The
 * answers of `run` are in the order of its items, those of all in the order of the members.
 */
export async function withinScopes<Item, Result>(
  shared: SharedTransaction,
  members: readonly Member<Item>[],
  run: (sql: Sql, items: readonly Item[]) => Promise<readonly (Result | undefined)[]>,
): Promise<(Result | undefined)[]> {
  const results = new Array<Result | undefined>(members.length).fill(undefined);
  const scopes = Map.groupBy(members.entries(), ([, { scope }]) => `${scope.tenantId} ${scope.userId}`);
  const answered = [...scopes.values()].map(async (own) => {
    const [first] = own;
    if (!first) return;
    const answers = await shared.within(first[1].scope, (sql) =>
      run(
        sql,
        own.map(([, { item }]) => item),
      ),
    );
    for (const [at, [place]] of own.entries()) results[place] = answers[at];
  });
  await Promise.all(answered);
  return results;
}

export function createGroupCommit<Item extends { readonly id: string }, Result>(
  options: GroupCommitOptions<Item, Result>,
): GroupCommit<Item, Result> {
  if (!options.apart) return createQueue(options).add;
  const queues = new Map<string, Queue<Item, Result>>();
  return (item) => {
    const { tenantId } = currentScope();
    // Gone with the last who waits for it: as many are kept as tenants are at work.
    const queue = queues.get(tenantId) ?? createQueue(options, () => queues.delete(tenantId));
    queues.set(tenantId, queue);
    return queue.add(item);
  };
}

interface Queue<Item, Result> {
  readonly add: GroupCommit<Item, Result>;
}

/** `onIdle` is called when nobody waits for it any more: whoever comes then may as well make another. */
function createQueue<Item extends { readonly id: string }, Result>(
  options: GroupCommitOptions<Item, Result>,
  onIdle: () => void = () => {},
): Queue<Item, Result> {
  const { database, clock, run, patienceMs = PATIENCE_MS, most = MOST } = options;
  interface Waiting extends Member<Item> {
    resolve(result: Result | undefined | Promise<Result | undefined>): void;
  }
  let waiting: Waiting[] = [];
  let isLeaving = false;

  const keyOf = ({ scope, item }: Waiting) => `${scope.tenantId} ${item.id}`;

  function nextBatch(): Waiting[] {
    const batch = new Map<string, Waiting>();
    const left: Waiting[] = [];
    for (const member of waiting) {
      const key = keyOf(member);
      if (batch.size < most && !batch.has(key)) batch.set(key, member);
      else left.push(member);
    }
    waiting = left;
    return [...batch.keys()].sort().flatMap((key) => batch.get(key) ?? []);
  }

  async function doAlone(member: Waiting, error: unknown): Promise<Result | undefined> {
    const [result] = await database.together((shared) => run(shared, [member]), { patient: true });
    const isUnknown = error instanceof AppError && error.kind === 'unavailable';
    if (result === undefined && isUnknown) throw error;
    return result;
  }

  async function commit(batch: readonly Waiting[]): Promise<void> {
    try {
      const results = await database.together((shared) => run(shared, batch));
      for (const [place, { resolve }] of batch.entries()) resolve(results[place]);
    } catch (error) {
      for (const member of batch) member.resolve(doAlone(member, error));
    }
  }

  async function leave(): Promise<void> {
    isLeaving = true;
    // Those who are woken by one event come together.
    await new Promise((resolve) => setImmediate(resolve));
    while (waiting.length > 0) {
      const patience = Promise.withResolvers<void>();
      const cancel = clock.after(patienceMs, patience.resolve);
      await Promise.race([commit(nextBatch()), patience.promise]);
      cancel();
    }
    isLeaving = false;
    onIdle();
  }

  return {
    add: (item) =>
      new Promise((resolve) => {
        waiting.push({ item, scope: currentScope(), resolve });
        // In nobody's scope: who comes first leaves for all.
        if (!isLeaving) void runDetached(leave);
      }),
  };
}
