/**
 * The work on delivered entries. An entry is held (renewed, counted) from its delivery until its end: acknowledged when the
 * handler resolved, whatever the outcome, because the row is settled then; given back when it rejected; left alone when it
 * became another consumer's. If saying so fails, the entry is ours in Redis but not held: it is delivered again after the
 * reconnect, and the row tells that it was done.
 *
 * Deliveries are counted because of entries that kill whoever works on them. One whose handler says that what it stands on is
 * away is given back uncounted: a database that is away for some minutes would make poison of everything handed out.
 */
import type { Delivery, Job, Lane } from '../contracts/index.ts';
import { AppError, messageOf, toAppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import type { Keys } from '../redis/keys.ts';
import type { Acknowledger } from './acknowledger.ts';
import type { Entry, EntryName, Ownership } from './consumer-group.ts';
import { createDecoder } from './entry.ts';
import type { Held, HeldEntries } from './held-entries.ts';

/** An entry that kills its workers, or that nobody can read. */
export type Poison =
  | { reason: 'deliveries'; delivery: Delivery }
  | { reason: 'undecodable'; lane: Lane; stream: string; entryId: string; payload: string; problem: string };

export interface Handlers {
  /**
   * Does the job and settles its row; resolves then, whatever came of it. Rejects where nothing could be written down: the
   * entry comes again after the visibility timeout, and with `unavailable` this delivery does not count. The signal aborts
   * when the worker stops or lost the entry.
   */
  handle(delivery: Delivery, signal: AbortSignal): Promise<void>;
  /** Writes down that the entry is given up; resolves when it may be deleted. Rejects as `handle` does. */
  onPoison(poison: Poison): Promise<void>;
  /** A job's entry was acknowledged; so many of its tenant's that are handed out are not delivered yet. */
  onAcknowledged?(tenantId: string, undelivered: number): void;
}

export interface DeliveriesOptions {
  lane: Lane;
  keys: Keys;
  held: HeldEntries;
  acknowledger: Acknowledger;
  release(partition: number, name: EntryName, options: { idleMs: number; counted: boolean }): Promise<Ownership[]>;
  renew(partition: number, names: readonly EntryName[]): Promise<Ownership[]>;
  handlers: Handlers;
  maxDeliveries: number;
  visibilityMs: number;
  logger: Logger;
  metrics: Pick<Metrics, 'workersBusy'> | undefined;
  /** The entry's slot is free again. */
  onFreed(entry: Held): void;
  /** An entry is no longer held. */
  onRemoved(): void;
  /** An entry was delivered while it is held: it may be ours once more without being worked on. */
  onRepeated(partition: number): void;
}

export function createDeliveries(options: DeliveriesOptions) {
  const { lane, keys, held, acknowledger, handlers, maxDeliveries, visibilityMs, logger, metrics } = options;
  const decode = createDecoder(keys, lane);
  let stopping = false;

  async function giveBack(partition: number, name: EntryName, counted: boolean): Promise<void> {
    // At once for others when this worker goes; else after the visibility timeout, which is the pause before a retry.
    const idleMs = stopping ? visibilityMs : 0;
    try {
      await options.release(partition, name, { idleMs, counted: counted && !stopping });
    } catch (error) {
      logger.warn({ err: error, lane, entry: name.id }, 'an entry could not be given back; it comes again by itself');
    }
  }

  async function acknowledge(entry: Held, job: Job | undefined): Promise<void> {
    try {
      const { ownership, undelivered } = await acknowledger.ack(entry.partition, entry);
      if (job) handlers.onAcknowledged?.(job.tenantId, undelivered);
      if (ownership !== 'own') {
        logger.warn({ lane, entry: entry.id, ownership }, 'an entry was no longer ours when its work had ended');
      }
    } catch (error) {
      logger.warn(
        { err: error, lane, entry: entry.id },
        'an entry could not be acknowledged; it comes again by itself',
      );
    }
  }

  async function work(entry: Held, job: Job | undefined, run: () => Promise<void>): Promise<void> {
    let [isSettled, isCounted] = [true, true];
    try {
      await run();
    } catch (error) {
      isSettled = false;
      isCounted = toAppError(error).kind !== 'unavailable';
      logger.error({ err: error, lane, entry: entry.id, job: job?.id }, `a handler failed: ${messageOf(error)}`);
    }
    metrics?.workersBusy.dec();
    held.settle(entry);
    options.onFreed(entry);
    if (!entry.lost) await (isSettled ? acknowledge(entry, job) : giveBack(entry.partition, entry, isCounted));
    held.remove(entry);
    options.onRemoved();
  }

  function begin(
    partition: number,
    { stream, id }: Entry,
    job: Job | undefined,
    run: (signal: AbortSignal) => Promise<void>,
  ): void {
    const controller = new AbortController();
    const entry: Held = { stream, id, partition, controller, lost: false, running: true };
    held.add(entry);
    metrics?.workersBusy.inc();
    void work(entry, job, async () => run(controller.signal));
  }

  async function renewIn(partition: number): Promise<void> {
    const entries = held.in(partition).filter(({ lost }) => !lost);
    if (entries.length === 0) return;
    const results = await options.renew(partition, entries);
    entries.forEach((entry, index) => {
      if (results[index] !== 'foreign') return;
      entry.lost = true;
      logger.warn({ lane, entry: entry.id }, 'an entry was claimed by another worker');
      entry.controller.abort(new AppError('conflict', 'Another worker has taken this over.'));
    });
  }

  return {
    /** Starts the work on an entry that was delivered to this worker. */
    accept(partition: number, entry: Entry): void {
      // Renewals were late and we claimed our own entry, which is being worked on; or its group was made again, and this
      // answer overtook the one that says that its acknowledgement found nothing.
      if (held.has(partition, entry)) {
        options.onRepeated(partition);
        return;
      }
      const decoded = decode(entry.stream, entry.payload);
      if (decoded.type === 'newer') {
        logger.info(
          { lane, entry: entry.id, version: decoded.version },
          'an entry of a newer version is left for others',
        );
        void giveBack(partition, entry, false);
        return;
      }
      if (decoded.type === 'undecodable') {
        const { stream, id: entryId, payload } = entry;
        const poison: Poison = { reason: 'undecodable', lane, stream, entryId, payload, problem: decoded.problem };
        begin(partition, entry, undefined, () => handlers.onPoison(poison));
        return;
      }
      const { job, weight } = decoded;
      const delivery: Delivery = { job, entryId: entry.id, deliveries: entry.deliveries, weight };
      begin(partition, entry, job, (signal) =>
        entry.deliveries > maxDeliveries
          ? handlers.onPoison({ reason: 'deliveries', delivery })
          : handlers.handle(delivery, signal),
      );
    },

    /**
     * Says to Redis that everything held is being worked on; ends the work on what became another consumer's. Partitions
     * for themselves: the server of one of them may be away. Rejects after all of them where one failed.
     */
    async renew(): Promise<void> {
      const results = await Promise.allSettled(held.partitions().map(renewIn));
      for (const result of results) if (result.status === 'rejected') throw result.reason;
    },

    /** Asks all handlers to end; what they reject from now on is for others at once. */
    abortAll(): void {
      stopping = true;
      for (const { controller } of held.all())
        controller.abort(new AppError('unavailable', 'This worker is stopping.'));
    },
  };
}
