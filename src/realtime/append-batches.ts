/**
 * How groups of events become the arguments of the append script, and what its answers say of the logs. Most groups only go
 * on where this process left off: they name the state in which the log must be and the one it is in then. Where it is in
 * another one, nothing is done and the group is sent again for the script to look; so is what begins or ends something.
 */
import { type EventOf, FINAL_EVENTS, type LogAppend } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Scope } from '../kernel/context.ts';
import { logEntry } from './batch.ts';
import { createKnownLogs, type KnownLog } from './known-logs.ts';
import { formatPosition } from './log-position.ts';
import type { ScriptArgument } from './script.ts';

/** Events of one topic and attempt that are appended together. */
export interface Group {
  scope: Scope;
  append: LogAppend;
  events: readonly EventOf[];
  /** Its log's keys. */
  meta: string;
  log: string;
  /** Grows in the order of sending and stays the same when the group is sent again; 0: never sent. */
  number: number;
  /** How many events `restore` put in front. */
  restored: number;
  /** The last event of the log once it is there; 0 where the script has to look. */
  continuesTo: number;
  /** Set once it is tried again behind its caller's back. */
  until?: number;
  resolve(appended: number): void;
  reject(error: unknown): void;
}

/** What the script answers: a count, or less than 0 (gone, or one of the two below); with more where it had to look. */
export type Reply = number | [appended: number, state?: string, base?: number, audience?: string];

export const CHANGED = -2;
export const ROLLED_BACK = -3;

const MAX_GROUPS = 256;

export interface AppendBatchesOptions {
  clock: Clock;
  ttlSeconds: number;
  finalTtlSeconds: number;
  maxLen: number;
  newName: () => string;
}

export interface AppendBatches {
  /** Takes what the next script sends from the front of those that wait. */
  take(waiting: Group[], channel: string): { batch: Group[]; args: ScriptArgument[] };
  /** Remembers where the log is, and says how many events were appended, or less than 0. */
  learn(group: Group, reply: Reply): number;
  /** The group's script has failed: it may have been run or not. */
  doubt(group: Group): void;
}

export function createAppendBatches(options: AppendBatchesOptions): AppendBatches {
  const { clock, ttlSeconds, finalTtlSeconds, maxLen, newName } = options;
  const writer = newName();
  const logs = createKnownLogs();
  const keepAnewMs = (ttlSeconds * 1_000) / 16;
  let groups = 0;

  /** Where the log is when the group can be appended without a look at it. */
  function positionFor({ append, events, meta }: Group): KnownLog | undefined {
    const known = logs.get(meta);
    const goesOn =
      known !== undefined &&
      known.state !== '' &&
      known.attempt === append.attempt &&
      !append.rebuild &&
      (known.audience === 'user' || known.audience === audienceOf(append)) &&
      known.ahead + events.length - known.base <= maxLen &&
      clock.now() - known.keptAt < keepAnewMs &&
      events.every((event) => classOf(event) === '-');
    return goesOn ? known : undefined;
  }

  function addContinuing(args: ScriptArgument[], group: Group, known: KnownLog, ts: string): void {
    const { events, number } = group;
    const { epoch, attempt } = known;
    const seq = known.ahead + events.length;
    const after = formatPosition({ epoch, seq, attempt, final: false, writer, number, appended: events.length });
    args.push('f', events.length, known.state, after);
    for (const event of events) args.push(`${++known.ahead}-0`, logEntry(event.type, ts, dataOf(event)));
    known.state = after;
    group.continuesTo = seq;
  }

  function addLooking(args: ScriptArgument[], group: Group, ts: string): void {
    const { scope, append, events, meta } = group;
    const mode = append.rebuild ? 'rebuild' : append.restore ? 'restorable' : 'plain';
    const known = logs.get(meta);
    args.push('s', append.attempt, scope.userId, audienceOf(append), group.number, mode, newName(), events.length);
    args.push(known?.epoch ?? '', known?.seq ?? 0, known?.attempt ?? 0, known?.number ?? 0);
    for (const event of events) args.push(classOf(event), logEntry(event.type, ts, dataOf(event)));
    if (known) known.state = '';
    group.continuesTo = 0;
  }

  /**
   * A log comes twice in a batch only where each of its groups goes on from the one before: what the script refuses is
   * sent again, and must not find itself overtaken.
   */
  function take(waiting: Group[], channel: string): { batch: Group[]; args: ScriptArgument[] } {
    const batch: Group[] = [];
    const args: ScriptArgument[] = [channel, writer, ttlSeconds, finalTtlSeconds, maxLen];
    const ts = new Date(clock.now()).toISOString();
    const looked = new Set<string>();
    const continued = new Set<string>();
    const heldBack: Group[] = [];
    let taken = 0;
    for (const group of waiting) {
      if (batch.length === MAX_GROUPS) break;
      taken += 1;
      const { meta } = group;
      const known = looked.has(meta) ? undefined : positionFor(group);
      if (!known && (looked.has(meta) || continued.has(meta))) {
        looked.add(meta);
        heldBack.push(group);
        continue;
      }
      if (group.number === 0) group.number = ++groups;
      if (known) addContinuing(args, group, known, ts);
      else addLooking(args, group, ts);
      (known ? continued : looked).add(meta);
      batch.push(group);
    }
    waiting.splice(0, taken, ...heldBack);
    return { batch, args };
  }

  function learn({ meta, number, continuesTo }: Group, reply: Reply): number {
    const known = logs.get(meta);
    if (typeof reply === 'number') {
      if (known && reply >= 0) {
        known.seq = continuesTo;
        known.number = number;
      } else if (known) known.state = '';
      return reply;
    }
    const [appended, state, base = 0, audience = 'user'] = reply;
    if (state !== undefined) logs.learn(meta, { state, base, audience, now: clock.now() });
    return appended;
  }

  return {
    take,
    learn,
    doubt({ meta }) {
      const known = logs.get(meta);
      if (known) known.state = '';
    },
  };
}

const audienceOf = ({ audience, topic }: LogAppend) => audience ?? (topic.startsWith('turn:') ? 'user' : 'tenant');

/** No further event of its attempt comes after it. */
export const isFinal = ({ type }: EventOf) => FINAL_EVENTS.has(type);

function classOf(event: EventOf): 'final' | 'queued' | '-' {
  if (isFinal(event)) return 'final';
  return event.type.endsWith('.queued') ? 'queued' : '-';
}

/** Deltas and sources have exactly this form, which folding (in `scripts.ts`) takes apart by position. */
function dataOf(event: EventOf): string {
  if (event.type === 'turn.delta') return `{"text":${JSON.stringify(event.data.text)}}`;
  if (event.type === 'turn.sources') return JSON.stringify({ sources: event.data.sources });
  return JSON.stringify(event.data);
}
