/**
 * Writes the text of one attempt at a turn as `turn.delta` events. The first delta leaves at once; what follows within
 * the window is gathered until the window or `maxBytes` is full, so that frames do not grow with the token rate. One
 * append is under way at a time.
 *
 * Text is never lost to Redis: what could not be written is in `text`, and once Redis answers again the log begins anew
 * with all of it. So `write` and `flush` do not fail; whether somebody else owns the turn by now is told by `fenced`.
 */
import type { EventOf, EventPublisher, LogAppend, LogTopic } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runAs } from '../kernel/context.ts';
import { messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';

export interface DeltaWriterOptions {
  publisher: EventPublisher;
  topic: LogTopic & `turn:${string}`;
  attempt: number;
  clock: Clock;
  logger: Logger;
  /** How long text is gathered after an append, in milliseconds. Default 20. */
  windowMs?: number;
  /** UTF-8 bytes that are not gathered any longer. Default 256. */
  maxBytes?: number;
  /** What the attempt told before its text, for a log that has to begin anew. Default: `turn.started`. */
  preamble?: () => readonly EventOf[];
}

export interface DeltaWriter {
  /** Takes a piece of the answer; it may end inside a surrogate pair. Never waits. */
  write(piece: string): void;
  /** Resolves when all whole characters written so far were appended, or could not be. */
  flush(): Promise<void>;
  /** `flush`, for the end of the text: half a pair without its partner becomes U+FFFD. */
  end(): Promise<void>;
  /**
   * Appends what ends the attempt, after all of its text: where the log was lost, or may have been, the text comes first
   * in the new one. False when fenced. Rejects with `unavailable`; the event is then tried again in the background.
   */
  finish(event: EventOf): Promise<boolean>;
  /** Another attempt owns the turn, or it has ended: nothing is appended any more. */
  readonly fenced: boolean;
  /** The text as clients see it when all is flushed: what `turn.completed` says, so that both are equal. */
  readonly text: string;
}

/** Of UTF-8, for one unit of UTF-16. */
const MAX_BYTES_A_UNIT = 3;
const HALF_PAIR_AT_END = /[\uD800-\uDBFF]$/;

export function createDeltaWriter(options: DeltaWriterOptions): DeltaWriter {
  const { publisher, topic, attempt, clock, logger, windowMs = 20, maxBytes = 256 } = options;
  const scope = currentScope();
  const preamble =
    options.preamble ?? (() => [{ type: 'turn.started', data: { attempt, turn_id: topic.slice('turn:'.length) } }]);

  let told = '';
  let sending = '';
  let pending = '';
  let half = '';
  let fenced = false;
  let unsure = false;
  /** When the last append began; what comes within the window after it is gathered. */
  let sentAt = Number.NEGATIVE_INFINITY;
  /** Set while text waits for the end of the window. */
  let cancelTimer: (() => void) | undefined;
  let underway: Promise<void> | undefined;

  const delta = (text: string): EventOf => ({ type: 'turn.delta', data: { text } });
  const soFar = () => [...preamble(), ...(told === '' ? [] : [delta(told)])];

  function appendsFor(event: EventOf | undefined): LogAppend[] {
    if (!unsure && event) return [{ topic, attempt, event, restore: soFar }];
    const events = [...soFar(), ...(event ? [event] : [])];
    return events.map((one, index) => ({ topic, attempt, event: one, ...(index === 0 && { rebuild: true }) }));
  }

  async function append(): Promise<void> {
    sending = pending;
    pending = '';
    try {
      const outcomes = await runAs(scope, () =>
        publisher.append(appendsFor(sending === '' ? undefined : delta(sending))),
      );
      unsure = false;
      if (outcomes.includes(false)) fenced = true;
    } catch (error) {
      // It may have arrived or not: the next append begins the log anew, with all that was written.
      unsure = true;
      logger.warn({ err: error, topic }, `text was not published: ${messageOf(error)}`);
    }
    told += sending;
    sending = '';
  }

  /** Counted only where their number can matter: a token adds few to what is gathered. */
  function isFull(): boolean {
    const { length } = pending;
    return length >= maxBytes || (length * MAX_BYTES_A_UNIT >= maxBytes && Buffer.byteLength(pending) >= maxBytes);
  }

  function closeWindow(): void {
    cancelTimer?.();
    cancelTimer = undefined;
  }

  function send(): void {
    closeWindow();
    sentAt = clock.now();
    underway = append().then(() => {
      underway = undefined;
      next();
    });
  }

  function next(): void {
    if (fenced || underway || pending === '') return;
    const rest = Math.min(windowMs, sentAt + windowMs - clock.now());
    if (rest <= 0 || isFull()) send();
    else
      cancelTimer ??= clock.after(rest, () => {
        cancelTimer = undefined;
        sentAt = Number.NEGATIVE_INFINITY;
        next();
      });
  }

  async function flush(): Promise<void> {
    while (!fenced && (underway || pending !== '')) {
      if (!underway) send();
      await underway;
    }
    if (unsure && !fenced) {
      send();
      await underway;
    }
    closeWindow();
    sentAt = Number.NEGATIVE_INFINITY;
  }

  function add(piece: string): void {
    let text = piece;
    if (half !== '' || !piece.isWellFormed() || piece.includes('\0')) {
      const whole = half + piece;
      half = HALF_PAIR_AT_END.exec(whole)?.[0] ?? '';
      // PostgreSQL stores no NUL and no lone surrogate; what is told must be what is stored.
      text = whole
        .slice(0, whole.length - half.length)
        .replaceAll('\0', '')
        .toWellFormed();
    }
    pending += text;
  }

  async function end(): Promise<void> {
    if (half !== '') {
      half = '';
      add('\uFFFD');
    }
    await flush();
  }

  return {
    write(piece) {
      add(piece);
      next();
    },
    flush,
    end,
    async finish(event) {
      await end();
      if (fenced) return false;
      const outcomes = await runAs(scope, () => publisher.append(appendsFor(event)));
      return outcomes.at(-1) ?? false;
    },
    get fenced() {
      return fenced;
    },
    get text() {
      return told + sending + pending;
    },
  };
}
