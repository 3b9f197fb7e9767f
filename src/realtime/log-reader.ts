/** Reads the logs of topics. Knows nothing of who reads: a page names the owner, the hub decides. */
import { randomBytes } from 'node:crypto';
import type { HubEvent } from '../contracts/index.ts';
import type { RedisClients } from '../redis/clients.ts';
import type { Keys } from '../redis/keys.ts';
import { logEvent } from './batch.ts';
import { emptyState, parsePosition } from './log-position.ts';
import { beginScript, readScript } from './scripts.ts';

/** A log's metadata and the events after a given one, as of one moment. */
export interface LogPage {
  epoch: string;
  /** The last event of the log; 0 when it is empty. */
  seq: number;
  /** '' until somebody wrote to the log. */
  userId: string;
  audience: 'user' | 'tenant';
  attempt: number;
  /** The first event that is still kept; `seq + 1` when none is. */
  first: number;
  /** What was trimmed, folded; null when nothing was. */
  base: LogBase | null;
  events: LogEntry[];
}

export interface LogBase {
  /** The last event folded in. */
  seq: number;
  text: string;
  sources: unknown[];
}

export interface LogEntry extends HubEvent {
  /** The JSON of the event's `data`. */
  data: string;
}

export interface LogReader {
  /** `null` where there is no log. At most `PAGE_EVENTS` events. */
  read(tenantId: string, topic: string, after: number): Promise<LogPage | null>;
  /** Begins an empty log unless there is one; returns the one that is there. */
  begin(tenantId: string, topic: string): Promise<{ epoch: string; seq: number }>;
}

export const PAGE_EVENTS = 256;

/** An empty log that nobody writes to: long enough for a turn to be picked up. */
const BEGUN_SECONDS = 900;

export function createLogReader({ clients, keys }: { clients: RedisClients; keys: Keys }): LogReader {
  return {
    async read(tenantId, topic, after) {
      const scriptKeys = [keys.logMeta(tenantId, topic), keys.log(tenantId, topic)];
      const reply = await readScript.run(clients.ops, scriptKeys, [after, PAGE_EVENTS]);
      if (!Array.isArray(reply)) return null;
      const [state, userId, audience, first, baseSeq, baseText, baseSources, flat] = reply as [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string[],
      ];
      const { epoch, seq, attempt } = parsePosition(state);
      const events: LogEntry[] = [];
      for (let i = 0; i + 1 < flat.length; i += 2)
        events.push(logEvent(topic, epoch, Number(flat[i]), flat[i + 1] ?? ''));
      return {
        epoch,
        seq,
        userId,
        audience: audience === 'tenant' ? 'tenant' : 'user',
        attempt,
        first: first === '' ? seq + 1 : Number(first),
        base:
          baseSeq === ''
            ? null
            : { seq: Number(baseSeq), text: JSON.parse(`"${baseText}"`), sources: JSON.parse(baseSources || '[]') },
        events,
      };
    },
    async begin(tenantId, topic) {
      const epoch = randomBytes(8).toString('hex');
      const reply = await beginScript.run(
        clients.ops,
        [keys.logMeta(tenantId, topic)],
        [emptyState(epoch), BEGUN_SECONDS],
      );
      return parsePosition(String(reply));
    },
  };
}
