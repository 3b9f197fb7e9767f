/**
 * The readers that this node has of one log topic, and how they are fed.
 *
 * A reader is live or catching up. Live: it has all that was published so far and is handed each event as it comes.
 * Where many sockets are live they are told together (`crowds.ts`), all but the event that ends the log.
 * Catching up: it is read to from `recent` or from the log, page by page, at its own pace, until it has all; then it is
 * live. It falls back to catching up when its socket is full, when an event is missing, when the epoch is another, and
 * after a cut of the subscription. Every reader has its own position (epoch, last), so nothing is missed or repeated by
 * going to and fro. Where the log cannot continue the position there is one `reset`.
 */
import { FINAL_EVENTS, type HubEvent, type LogTopic, type TopicReader } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { runAs, runDetached, type Scope } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { createCrowds, ENOUGH } from './crowds.ts';
import type { LogPage, LogReader } from './log-reader.ts';
import { foldLog, hasEnded } from './log-state.ts';

/** The state of a topic in the database, as the ambient scope may see it. `null`: for this scope there is no such thing. */
export interface SnapshotSource {
  snapshot(topic: string): Promise<{ snapshot: Record<string, unknown> } | null>;
}

export interface TopicLogOptions {
  tenantId: string;
  topic: LogTopic;
  log: LogReader;
  source: SnapshotSource;
  clock: Clock;
  logger: Logger;
  /** Something runs for a reader: the hub waits for it when it stops. */
  track(work: Promise<void>): void;
}

export interface Read {
  page: LogPage | null;
  /** How many messages had come when the read began. */
  arrivals: number;
}

export interface TopicLog {
  readonly tenantId: string;
  readonly topic: LogTopic;
  /** What is after `after`. Readers who ask for the same at the same time share one read, and its event objects. */
  read(after: number): Promise<Read>;
  /** Feeds a reader from its position on; `first` is what `read` gave for it. Returns what ends it. */
  attach(
    reader: TopicReader,
    scope: Scope,
    position: { epoch: string | undefined; last: number },
    first: Read,
  ): () => void;
  /** Events of the channel, in the order of publishing. */
  publish(events: readonly HubEvent[]): void;
  /** Messages were lost: everybody catches up. */
  resync(): void;
  /** When readers were last told something; null where none of them waits for the topic's end. */
  waitingSince(): number | null;
  readonly size: number;
}

interface ReaderState {
  readonly reader: TopicReader;
  readonly scope: Scope;
  epoch: string | undefined;
  last: number;
  live: boolean;
  gone: boolean;
  /** It knows that the topic has ended. */
  ended: boolean;
  /** Ends what the catching up waits for. */
  wake: () => void;
}

/** Events kept for those who are a little behind; what is older is read from Redis. */
const RECENT_EVENTS = 64;
/** No log has it, so that nothing continues it. */
const NO_EPOCH = '';
const RETRY_MS = [100, 250, 500, 1_000, 2_000];

export function createTopicLog(options: TopicLogOptions): TopicLog {
  const { tenantId, topic, log, source, clock, logger, track } = options;
  const readers = new Set<ReaderState>();
  /** Those of them who are not told together with others. */
  const alone = new Set<ReaderState>();
  const crowds = createCrowds<ReaderState>(`${tenantId} ${topic}`);
  const reads = new Map<number, Promise<Read>>();
  let epoch: string | undefined;
  /** Without gap, ending with the last event that was published here. */
  let recent: HubEvent[] = [];
  let arrivals = 0;
  let toldAt = clock.now();

  const newest = () => recent.at(-1)?.seq ?? 0;

  function read(after: number): Promise<Read> {
    const known = reads.get(after);
    if (known) return known;
    const before = arrivals;
    const promise = log.read(tenantId, topic, after).then((page): Read => ({ page, arrivals: before }));
    reads.set(after, promise);
    const forget = () => reads.delete(after);
    promise.then(forget, forget);
    return promise;
  }

  function drop(state: ReaderState): void {
    state.gone = true;
    state.live = false;
    readers.delete(state);
    alone.delete(state);
    if (crowds.has(state)) for (const other of crowds.release(state)) alone.add(other);
    state.wake();
  }

  /** A reader that throws is the caller's mistake and is not called again. */
  function broke(state: ReaderState, error: unknown): void {
    logger.error({ err: error, topic }, `a reader failed: ${messageOf(error)}`);
    drop(state);
  }

  function hand(state: ReaderState, give: (reader: TopicReader) => void): void {
    try {
      give(state.reader);
    } catch (error) {
      broke(state, error);
    }
  }

  function deliver(state: ReaderState, event: HubEvent): void {
    state.epoch = event.epoch;
    state.last = event.seq;
    state.ended = FINAL_EVENTS.has(event.type);
    try {
      state.reader.event(event);
    } catch (error) {
      broke(state, error);
    }
  }

  /** The promise that a full reader waits for, or `null`. */
  function full(state: ReaderState): Promise<void> | null {
    return state.reader.ready?.() ?? null;
  }

  function pause(state: ReaderState, promise: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      state.wake = resolve;
      promise.then(
        () => resolve(),
        () => resolve(),
      );
    });
  }

  function fallBack(state: ReaderState, first?: Read): void {
    state.live = false;
    track(runDetached(() => catchUp(state, first)));
  }

  /** Delivers in order what the reader lacks; stops where it is full. */
  function deliverAll(state: ReaderState, events: readonly HubEvent[]): void {
    for (const event of events) {
      if (event.seq <= state.last) continue;
      if (state.gone || full(state)) return;
      deliver(state, event);
    }
  }

  /** Tells the event to whom it is the next, all at once; the others are then alone. */
  function tellTogether(event: HubEvent): void {
    if (crowds.size === 0) return;
    if (!crowds.continues(event) || FINAL_EVENTS.has(event.type)) {
      for (const state of crowds.disperse()) alone.add(state);
      return;
    }
    for (const state of crowds.tell(event)) {
      alone.add(state);
      fallBack(state);
    }
  }

  function tellAlone(event: HubEvent): void {
    for (const state of alone) {
      if (!state.live || (state.epoch === event.epoch && event.seq <= state.last)) continue;
      if (state.epoch !== event.epoch || event.seq !== state.last + 1 || full(state)) fallBack(state);
      else deliver(state, event);
    }
  }

  /**
   * A number that was given out before comes again with something else: Redis has lost what it had acknowledged, and whoever
   * writes now did not know. What readers have is no part of the log any more: each is told the whole state.
   */
  function distrust(): void {
    recent = [];
    for (const state of crowds.disperse()) alone.add(state);
    for (const state of [...readers]) {
      state.epoch = NO_EPOCH;
      if (state.live) fallBack(state);
    }
  }

  /** Whoever has all that was published may be told together from now on. */
  function gather(): void {
    const at = recent.at(-1);
    // Most topics have one reader: for them this is all that a crowd costs.
    if (alone.size === 0 || readers.size < ENOUGH || !at || FINAL_EVENTS.has(at.type)) return;
    const candidates = [...alone].filter(
      (state) => state.live && state.reader.seat && state.epoch === at.epoch && state.last === at.seq && !full(state),
    );
    crowds.seat(candidates, at.epoch, at.seq);
    for (const state of candidates) if (crowds.has(state)) alone.delete(state);
  }

  const isBehind = (state: ReaderState) => epoch === state.epoch && newest() > state.last;

  /** True when `recent` goes on where the reader is. */
  function reachesRecent(state: ReaderState): boolean {
    const oldest = recent[0];
    return oldest !== undefined && state.epoch === epoch && oldest.seq <= state.last + 1 && state.last <= newest();
  }

  async function catchUp(state: ReaderState, first?: Read): Promise<void> {
    let given = first;
    for (let failures = 0; !state.gone; ) {
      const wait = full(state);
      if (wait) {
        await pause(state, wait);
        continue;
      }
      try {
        if (!given && reachesRecent(state)) {
          deliverAll(state, recent.slice());
          if (!isBehind(state)) {
            state.live = !state.gone;
            return;
          }
          continue;
        }
        const { page, arrivals: then } = given ?? (await read(state.last));
        given = undefined;
        if (state.gone) return;
        if (!page || !continues(state, page)) {
          await reset(state, page);
          continue;
        }
        state.epoch ??= page.epoch;
        deliverAll(state, page.events);
        if (state.last < page.seq || (arrivals !== then && (isBehind(state) || epoch !== state.epoch))) continue;
        state.live = !state.gone;
        return;
      } catch (error) {
        logger.warn({ err: error, topic }, `catching up failed, trying again: ${messageOf(error)}`);
        await pause(state, clock.sleep(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 0));
        failures += 1;
      }
    }
  }

  function continues(state: ReaderState, page: LogPage): boolean {
    if (state.epoch !== undefined && state.epoch !== page.epoch) return false;
    return state.last <= page.seq && page.first <= state.last + 1;
  }

  /** Tells the reader the whole state and puts it behind that. May leave it as it was, when the log changed meanwhile. */
  async function reset(state: ReaderState, page: LogPage | null): Promise<void> {
    const stored = await runAs(state.scope, () => source.snapshot(topic));
    if (state.gone) return;
    if (!stored) {
      drop(state);
      return hand(state, (reader) => reader.over?.());
    }
    if (!page) {
      const begun = await log.begin(tenantId, topic);
      if (begun.seq === 0 && !state.gone) tell(state, begun.epoch, 0, stored.snapshot);
      return;
    }
    // Read after the row, so the log is never older than its beginning says.
    const whole = await foldLog(async (after) => (await read(after)).page, page.epoch);
    if (whole && !state.gone) tell(state, page.epoch, whole.seq, { ...stored.snapshot, ...whole.state });
  }

  function tell(state: ReaderState, to: string, seq: number, snapshot: Record<string, unknown>): void {
    state.epoch = to;
    state.last = seq;
    state.ended = hasEnded(snapshot);
    hand(state, (reader) => reader.reset({ topic, epoch: to, seq, snapshot }));
  }

  return {
    tenantId,
    topic,
    read,
    attach(reader, scope, position, first) {
      const state: ReaderState = { reader, scope, ...position, live: false, gone: false, ended: false, wake: () => {} };
      readers.add(state);
      alone.add(state);
      toldAt = clock.now();
      fallBack(state, first);
      return () => drop(state);
    },
    publish(events) {
      arrivals += 1;
      toldAt = clock.now();
      for (const event of events) {
        if (event.epoch === epoch && event.seq <= newest()) {
          if (recent.some(({ seq, json }) => seq === event.seq && json === event.json)) continue;
          distrust();
        }
        if (event.epoch !== epoch || event.seq !== newest() + 1) recent = [];
        epoch = event.epoch;
        recent.push(event);
        if (recent.length > RECENT_EVENTS) recent.shift();
        tellTogether(event);
        tellAlone(event);
      }
      gather();
    },
    resync() {
      // Whoever is catching up has read before what was lost, and must not take that for all.
      arrivals += 1;
      recent = [];
      epoch = undefined;
      for (const state of crowds.disperse()) alone.add(state);
      for (const state of [...readers]) if (state.live) fallBack(state);
    },
    waitingSince() {
      for (const { live, ended } of readers) if (live && !ended) return toldAt;
      return null;
    },
    get size() {
      return readers.size;
    },
  };
}
