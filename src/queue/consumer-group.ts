/** The scripts as functions, for one consumer in one lane. Entries are named by their stream and id. */
import type { Lane } from '../contracts/index.ts';
import type { Keys } from '../redis/keys.ts';
import type { Push } from './handover.ts';
import { asInteger, asList, asText } from './replies.ts';
import type { RunScript, ScriptArgument } from './scripts.ts';

export interface EntryName {
  stream: string;
  id: string;
}

export interface Entry extends EntryName {
  /** See `entry.ts`; empty where the entry is none of ours. */
  payload: string;
  /** How often it was delivered, this time included. */
  deliveries: number;
}

/** What became of a request about an entry: `foreign` where another consumer has it by now, `gone` where nobody has. */
export type Ownership = 'own' | 'gone' | 'foreign';

export interface Caps {
  /** Most entries of one stream that this consumer may hold. */
  own: number;
  /** Most that all consumers together may hold; 0: no limit. */
  total: number;
}

/** What became of an acknowledgement. */
export interface Acknowledged {
  ownership: Ownership;
  /** Entries of the same stream that nobody was given yet, about; 0 where the entry was not ours. */
  undelivered: number;
}

/** Stream → number of its entries that this consumer holds. */
export type HeldCounts = ReadonlyMap<string, number>;

export interface Step {
  /** For the next step; undefined where this was the last. */
  cursor: string | undefined;
  entries: Entry[];
}

const FIRST = '0';
/** Active streams that one step looks at: a script of some milliseconds at most. */
const STREAMS_A_STEP = 64;

export function partitionKeys(keys: Keys, lane: Lane, partition: number): string[] {
  return [
    keys.ready(lane, partition),
    keys.active(lane, partition),
    keys.fairness(lane, partition),
    keys.doorbell(lane, partition),
  ];
}

const counted = (held: HeldCounts) => [...held].flat();

function toOwnership(code: number): Ownership {
  return code > 0 ? 'own' : code === 0 ? 'gone' : 'foreign';
}

/** The entries of one read: their stream, then an id and a payload each. */
function toFirstDeliveries(value: unknown): Entry[] {
  const [name, ...fields] = asList(value);
  const stream = asText(name);
  const entries: Entry[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    entries.push({ stream, id: asText(fields[i]), payload: asText(fields[i + 1]), deliveries: 1 });
  }
  return entries;
}

function toEntry(value: unknown): Entry {
  const [stream, id, payload, deliveries] = asList(value);
  return {
    stream: asText(stream),
    id: asText(id),
    payload: asText(payload),
    deliveries: asInteger(deliveries),
  };
}

function toCursor(value: unknown): string | undefined {
  const cursor = asText(value);
  return cursor === FIRST ? undefined : cursor;
}

export function createConsumerGroup({
  run,
  keys,
  lane,
  consumer,
}: {
  run: RunScript;
  keys: Keys;
  lane: Lane;
  consumer: string;
}) {
  const keysOf = Array.from({ length: keys.partitions }, (_, partition) => partitionKeys(keys, lane, partition));
  const call = (script: Parameters<RunScript>[0], partition: number, args: ScriptArgument[]) =>
    run(script, keysOf[partition] ?? [], [consumer, ...args]);

  /** The scripts get the entries of one stream together; the answers are in the order of `names` again. */
  async function aboutEach(
    script: 'ack' | 'renew' | 'release',
    partition: number,
    args: ScriptArgument[],
    names: readonly EntryName[],
  ): Promise<number[]> {
    const streams = Map.groupBy(names.keys(), (index) => names[index]?.stream ?? '');
    for (const [stream, own] of streams) {
      args.push(stream, own.length);
      for (const index of own) args.push(names[index]?.id ?? '');
    }
    const answers = asList(await call(script, partition, args));
    const result = new Array<number>(names.length).fill(0);
    let place = 0;
    for (const own of streams.values()) for (const index of own) result[index] = asInteger(answers[place++]);
    return result;
  }

  return {
    /** Appends jobs to a tenant's stream; this consumer is given up to so many of them where nobody waits for a worker. */
    async push(partition: number, { stream, maxLength, payloads }: Push, slots: number): Promise<Entry[]> {
      const all = [...(keysOf[partition] ?? []), stream];
      const given = await run('push', all, [maxLength, consumer, slots, ...payloads]);
      return asList(given).flatMap(toFirstDeliveries);
    },

    /** Up to `slots` entries in fair order, the number of streams that were ready before, and of those without room here. */
    async take(
      partition: number,
      slots: number,
      caps: Caps,
      held: HeldCounts,
    ): Promise<{ ready: number; full: number; entries: Entry[] }> {
      const [ready, full, ...entries] = asList(
        await call('take', partition, [slots, caps.own, caps.total, ...counted(held)]),
      );
      return { ready: asInteger(ready), full: asInteger(full), entries: entries.flatMap(toFirstDeliveries) };
    },

    async ack(partition: number, names: readonly EntryName[], capped: boolean): Promise<Acknowledged[]> {
      const codes = await aboutEach('ack', partition, [capped ? 1 : 0], names);
      return codes.map((code) => ({ ownership: toOwnership(code), undelivered: Math.max(0, code - 1) }));
    },

    async renew(partition: number, names: readonly EntryName[]): Promise<Ownership[]> {
      return (await aboutEach('renew', partition, [], names)).map(toOwnership);
    },

    /** `idleMs`: for how long they count as idle already; `counted`: whether their last delivery counts. */
    async release(
      partition: number,
      names: readonly EntryName[],
      how: { idleMs: number; counted: boolean },
    ): Promise<Ownership[]> {
      return (await aboutEach('release', partition, [how.idleMs, how.counted ? 0 : 1], names)).map(toOwnership);
    },

    /** Claims what stayed idle; `vanished` are entries that were trimmed away while somebody held them. */
    async reclaim(
      partition: number,
      options: {
        idleMs: number;
        slots: number;
        caps: Caps;
        consumerGoneMs: number;
        held: HeldCounts;
        cursor: string | undefined;
      },
    ): Promise<Step & { vanished: string[] }> {
      const { idleMs, slots, caps, consumerGoneMs, held, cursor = FIRST } = options;
      const reply = asList(
        await call('reclaim', partition, [
          idleMs,
          slots,
          caps.own,
          caps.total,
          consumerGoneMs,
          cursor,
          STREAMS_A_STEP,
          ...counted(held),
        ]),
      );
      return {
        cursor: toCursor(reply[0]),
        entries: asList(reply[1]).map(toEntry),
        vanished: asList(reply[2]).map(asText),
      };
    },

    /** Delivers again what is pending to this consumer and not among `known`; `left` where there was more than `slots`. */
    async recover(
      partition: number,
      options: { slots: number; known: readonly EntryName[]; cursor: string | undefined },
    ): Promise<Step & { left: boolean }> {
      const { slots, known, cursor = FIRST } = options;
      const names = known.map(({ stream, id }) => `${stream} ${id}`);
      const reply = asList(await call('recover', partition, [slots, cursor, STREAMS_A_STEP, ...names]));
      return { cursor: toCursor(reply[0]), entries: asList(reply[1]).map(toEntry), left: asInteger(reply[2]) === 1 };
    },

    /** Gives everything back and removes this consumer from every group of the partition; returns how much was given back. */
    async retire(partition: number, idleMs: number): Promise<number> {
      let released = 0;
      let cursor: string | undefined = FIRST;
      while (cursor !== undefined) {
        const reply = asList(await call('retire', partition, [idleMs, cursor, STREAMS_A_STEP]));
        released += asInteger(reply[1]);
        cursor = toCursor(reply[0]);
      }
      return released;
    },
  };
}
