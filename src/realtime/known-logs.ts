/**
 * What this process knows of the logs that it writes to. Two things follow: most groups are appended without Redis having to
 * look at anything (`state`), and a log that has lost what this process had appended is noticed (`seq`, `number`), because
 * a Redis that was rolled back gives numbers out again that readers have already.
 */
import { type LogPosition, parsePosition } from './log-position.ts';

export interface KnownLog extends Pick<LogPosition, 'epoch' | 'attempt'> {
  /** The last event and the last group of this process that Redis has acknowledged. */
  seq: number;
  number: number;
  /** What the log's state will be when all has arrived that is on its way; '' where that is not known. */
  state: string;
  /** The last event then. */
  ahead: number;
  audience: string;
  /** The last event that was folded away. */
  base: number;
  /** When its time to live was last set, in milliseconds since the epoch. */
  keptAt: number;
}

export interface KnownLogs {
  get(meta: string): KnownLog | undefined;
  /** As the script has answered a group that had to look. */
  learn(meta: string, reply: { state: string; base: number; audience: string; now: number }): void;
}

/** Turns and tasks that one process writes to at a time, many times over. */
const MAX_KNOWN = 20_000;

export function createKnownLogs(): KnownLogs {
  const logs = new Map<string, KnownLog>();
  return {
    get: (meta) => logs.get(meta),
    learn(meta, { state, base, audience, now }) {
      const { epoch, seq, attempt, number, final } = parsePosition(state);
      logs.delete(meta);
      if (final) return;
      if (logs.size >= MAX_KNOWN) for (const oldest of logs.keys()) if (logs.delete(oldest)) break;
      logs.set(meta, { epoch, attempt, seq, number, state, ahead: seq, audience, base, keptAt: now });
    },
  };
}
