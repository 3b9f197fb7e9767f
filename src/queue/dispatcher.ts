/**
 * Hands the entries of one lane's streams to a handler: the worker's side of the queue.
 *
 * One loop takes, reclaims and recovers, one after the other, so that together they never hold more than `concurrency`.
 * It is woken by a doorbell (a hint) and by freed slots, and polls all partitions each second. A second loop renews what is
 * held. States: idle → running → draining (nothing is taken, handlers are aborted and awaited) → idle, with nothing left
 * pending to this consumer.
 *
 * What this process pushes while the worker is idle comes with the answer to the push (`handover.ts`), over the same connection.
 *
 * A partition whose server does not answer, one of a cluster, is put aside until the next poll: the others go on.
 *
 * An entry can end up with us without our knowing, when the reply got lost: after each reconnect, and after each failed
 * take, what is pending to us and not held is delivered again. What even that misses stays idle and is reclaimed by anyone.
 *
 * Rejected: a blocking read on the doorbell (a connection each, wedged by a half-open socket, for 0.1 ms less at idle), and
 * acknowledging together with the next take (saves a call, but a slow take would then delay a settled job's end).
 */
import type { Lane } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { runDetached } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Metrics } from '../kernel/metrics.ts';
import { createLoop, type Service } from '../kernel/service.ts';
import { within } from '../kernel/within.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { createAcknowledger } from './acknowledger.ts';
import { guardConnection } from './connection.ts';
import { createConsumerGroup, type Entry } from './consumer-group.ts';
import { createDeliveries, type Handlers } from './deliveries.ts';
import { listenForDoorbells } from './doorbells.ts';
import type { Push } from './handover.ts';
import { createHeldEntries } from './held-entries.ts';
import { createPartitionOrder } from './partition-order.ts';
import type { Producer } from './producer.ts';
import { loadScripts } from './scripts.ts';
import { createSessionService } from './session-service.ts';

export interface DispatcherOptions extends Handlers {
  clients: Pick<RedisClients, 'reader' | 'servers' | 'subscriber'>;
  keys: Keys;
  /** Of this process, with the same keys: what it pushes while the worker is idle comes with the answer to the push. */
  producer?: Pick<Producer, 'offer'>;
  lane: Lane;
  /** Name in the consumer groups: of one living process only. */
  consumer: string;
  /** Handlers at once. */
  concurrency: number;
  /** Handlers of one tenant at once in this worker. */
  tenantConcurrency: number;
  /** Entries of one tenant pending at once over all workers; absent: the feeder's window is the limit. */
  tenantCap?: number;
  /** Idle time after which an entry is taken from its consumer. */
  visibilityMs: number;
  clock: Clock;
  logger: Logger;
  metrics?: Pick<Metrics, 'workersBusy'>;
  pollMs?: number;
  /** Within which Redis must answer; then the connection is given up. */
  callTimeoutMs?: number;
  /** How long `stop` waits for handlers. */
  drainMs?: number;
  /** Deliveries without an end after which an entry is poison. */
  maxDeliveries?: number;
}

export interface Dispatcher extends Service {
  /** Handlers running now. */
  busy(): number;
}

const MAX_SWEEP_MS = 2_000;
const MIN_CONSUMER_GONE_MS = 60_000;

export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const service = createSessionService({
    name: `dispatcher-${options.lane}`,
    open: () => openSession(options),
    close: (session) => session.close(),
  });
  return {
    name: service.name,
    start: service.start,
    stop: service.stop,
    busy: () => service.current()?.busy() ?? 0,
  };
}

async function openSession(options: DispatcherOptions) {
  const { clients, keys, lane, consumer, concurrency, visibilityMs, clock, logger, metrics } = options;
  const { pollMs = 1_000, callTimeoutMs = 5_000, drainMs = 10_000, maxDeliveries = 10 } = options;
  const caps = { own: options.tenantConcurrency, total: options.tenantCap ?? 0 };
  const maxHeld = 2 * concurrency;
  const sweepMs = Math.min(MAX_SWEEP_MS, visibilityMs / 4);
  const consumerGoneMs = Math.max(MIN_CONSUMER_GONE_MS, 10 * visibilityMs);

  const order = createPartitionOrder(keys.partitions);
  const held = createHeldEntries();
  /** Partitions in which a reply may have been lost. */
  const doubtful = new Set<number>();
  /** Partitions that did not answer, and until when they are not asked. */
  const aside = new Map<number, number>();
  /** Where the walk over the active streams is; undefined between two walks. */
  let sweep: { partition: number; cursor: string | undefined } | undefined;
  let sweptAt = Number.NEGATIVE_INFINITY;
  let polledAt = Number.NEGATIVE_INFINITY;
  let closing = false;
  /** A round counts on the slots that were free when it asked. */
  let isAsking = false;
  /** Slots that may be filled by what this process pushes: the answers are on their way. */
  let promised = 0;

  const client = clients.reader(`dispatcher-${lane}`);
  const group = createConsumerGroup({ run: loadScripts(client), keys, lane, consumer });
  const connection = guardConnection({ client, clock, deadlineMs: callTimeoutMs, onReady: onConnected });
  const deliveries = createDeliveries({
    lane,
    keys,
    held,
    maxDeliveries,
    visibilityMs,
    logger,
    metrics,
    handlers: options,
    acknowledger: createAcknowledger((partition, names) =>
      connection.call(() => group.ack(partition, names, caps.total > 0)),
    ),
    release: (partition, name, how) => connection.call(() => group.release(partition, [name], how)),
    renew: (partition, names) => connection.call(() => group.renew(partition, names)),
    onFreed({ partition }) {
      order.freed(partition);
      taking.wake();
    },
    onRemoved() {
      // Only where acknowledgements held the taking up.
      if (held.size === maxHeld - 1) taking.wake();
    },
    onRepeated: (partition) => void doubtful.add(partition),
  });
  /** Slots, as long as the acknowledgements keep up. */
  const free = () => Math.max(0, Math.min(concurrency - held.running, maxHeld - held.size) - promised);

  function accept(partition: number, entries: readonly Entry[]): void {
    // What arrives after the end of taking is not begun; retiring gives it back.
    if (closing) return;
    for (const entry of entries) deliveries.accept(partition, entry);
  }

  /** Replies may have been lost, and after a long while away others may claim what is not renewed at once. */
  function onConnected(): void {
    for (let partition = 0; partition < keys.partitions; partition++) doubtful.add(partition);
    renewing.wake();
    taking.wake();
  }

  const isAside = (partition: number) => (aside.get(partition) ?? 0) > clock.now();

  /** Something about one partition; where it fails and the connection is well, the others needn't wait for this one. */
  async function about(partition: number, what: () => Promise<void>): Promise<void> {
    try {
      await what();
      aside.delete(partition);
    } catch (error) {
      doubtful.add(partition);
      if (!connection.isReady()) throw error;
      logger.warn({ err: error, lane, partition }, `a partition does not answer: ${messageOf(error)}`);
      aside.set(partition, clock.now() + pollMs);
      order.asked(partition, { ready: 0, taken: 0, exhausted: true, full: 0, busy: false });
    }
  }

  /** Delivers again what we were given without knowing. */
  async function recover(partition: number): Promise<void> {
    let cursor: string | undefined;
    let left = false;
    do {
      const from = cursor;
      const step = await connection.call(() =>
        group.recover(partition, { slots: free(), known: held.in(partition), cursor: from }),
      );
      accept(partition, step.entries);
      left = left || step.left;
      cursor = step.cursor;
    } while (cursor !== undefined);
    if (!left) doubtful.delete(partition);
  }

  /**
   * One step of the walk that claims what stayed idle; true where the walk goes on. Only with a slot to claim for, and a walk
   * keeps one until it is over: else, under a load that takes every slot at once, the partitions behind the first are walked
   * with none, and what a dead worker left waits for the end of the load.
   */
  async function sweepOn(): Promise<boolean> {
    if (free() === 0) return false;
    if (!sweep) {
      if (clock.now() - sweptAt < sweepMs) return false;
      sweptAt = clock.now();
      sweep = { partition: 0, cursor: undefined };
    }
    const { partition } = sweep;
    let { cursor } = sweep;
    const reclaim = async () => {
      const from = cursor;
      cursor = undefined;
      const step = await connection.call(() =>
        group.reclaim(partition, {
          idleMs: visibilityMs,
          slots: free(),
          caps,
          consumerGoneMs,
          held: held.runningIn(partition),
          cursor: from,
        }),
      );
      accept(partition, step.entries);
      if (step.vanished.length > 0) {
        logger.error({ lane, entries: step.vanished }, 'entries were trimmed away while they were being worked on');
      }
      cursor = step.cursor;
    };
    if (isAside(partition)) cursor = undefined;
    else await about(partition, reclaim);
    if (cursor !== undefined) sweep = { partition, cursor };
    else if (partition + 1 < keys.partitions) sweep = { partition: partition + 1, cursor: undefined };
    else sweep = undefined;
    return sweep !== undefined;
  }

  async function takeFrom(partition: number, wanted: number): Promise<void> {
    const { ready, full, entries } = await connection.call(() =>
      group.take(partition, wanted, caps, held.runningIn(partition)),
    );
    accept(partition, entries);
    const exhausted = entries.length < wanted;
    const busy = held.runningIn(partition).size > 0;
    order.asked(partition, { ready, taken: entries.length, exhausted, full, busy });
  }

  /** Slots for jobs that this process pushes: none unless this worker is idle, and knows of nobody who waits for it. */
  function roomFor(partition: number, { stream, payloads }: Push): number {
    if (closing || isAsking || order.size > 0 || doubtful.has(partition) || isAside(partition)) return 0;
    if (!connection.isReady()) return 0;
    const own = caps.own - (held.runningIn(partition).get(stream) ?? 0);
    return Math.max(0, Math.min(free(), own, caps.total || own, payloads.length));
  }

  async function pushThrough(partition: number, push: Push, slots: number): Promise<boolean> {
    let isPushed = false;
    promised += slots;
    try {
      await about(partition, async () => {
        const entries = await connection.call(() => group.push(partition, push, slots));
        isPushed = true;
        order.given(partition, entries.length);
        accept(partition, entries);
      });
    } catch (error) {
      logger.debug({ err: error, lane, partition }, 'it may not have been pushed by this worker');
    } finally {
      promised -= slots;
      if (order.size > 0) taking.wake();
    }
    return isPushed;
  }

  /** All partitions whose turn it is are asked at once: while Redis is with one of them, the entries of another are begun. */
  async function take(signal: AbortSignal): Promise<void> {
    const room = () => free() - (sweep ? 1 : 0);
    while (!signal.aborted && room() > 0) {
      const turns = [...order.turns(room())];
      if (turns.length === 0) return;
      const asked = await Promise.allSettled(
        turns.map(([partition, wanted]) => about(partition, () => takeFrom(partition, wanted))),
      );
      for (const result of asked) if (result.status === 'rejected') throw result.reason;
    }
  }

  const taking = createLoop({
    name: `dispatcher-${lane}`,
    everyMs: Math.min(pollMs, sweepMs),
    clock,
    logger,
    async round(signal) {
      if (!connection.isReady()) return false;
      isAsking = true;
      try {
        for (const partition of doubtful) {
          if (free() > 0 && !isAside(partition)) await about(partition, () => recover(partition));
        }
        if (clock.now() - polledAt >= pollMs) {
          polledAt = clock.now();
          order.hintAll();
        }
        const more = await sweepOn();
        await take(signal);
        return more;
      } finally {
        isAsking = false;
      }
    },
  });

  const renewing = createLoop({
    name: `dispatcher-${lane}-renew`,
    everyMs: visibilityMs / 3,
    clock,
    logger,
    async round() {
      if (connection.isReady()) await deliveries.renew();
    },
  });

  const doorbells = await listenForDoorbells({
    clients,
    keys,
    lane,
    clock,
    logger,
    onRing(partition) {
      if (partition === undefined) order.hintAll();
      else order.hint(partition);
      taking.wake();
    },
  });

  /** Leaves nothing pending to this consumer, known or not. */
  async function retire(): Promise<void> {
    for (let partition = 0; partition < keys.partitions; partition++) {
      try {
        await connection.call(() => group.retire(partition, visibilityMs));
      } catch (error) {
        logger.warn(
          { err: error, lane, partition },
          'what this worker held could not be given back; others claim it when it is idle',
        );
        if (!connection.isReady()) return;
      }
    }
  }

  const endHandover = options.producer?.offer(lane, (partition, push) => {
    const slots = roomFor(partition, push);
    // Handlers begin in no scope, whoever pushes.
    return slots > 0 ? runDetached(() => pushThrough(partition, push, slots)) : undefined;
  });

  void taking.start();
  void renewing.start();
  return {
    busy: () => held.running,
    async close(): Promise<void> {
      closing = true;
      endHandover?.();
      await taking.stop();
      await doorbells.close();
      deliveries.abortAll();
      await within(clock, drainMs, held.whenEmpty(), () => undefined);
      await renewing.stop();
      await retire();
      connection.close();
    },
  };
}
