/**
 * What travels over a partition's channel: lines. A header says whom the lines after it concern. JSON escapes newlines, and
 * neither an entry nor a frame begins like a header, so nothing needs quoting.
 *
 *     L <key of the log's metadata> <state after it>             then its entries: `<type> <ts> <data>`; the state
 *                                                                begins with epoch and last seq (`log-position.ts`)
 *     H <tenant> <user, or *> <topic>                            then frames that lack `epoch` and `seq`
 *
 * The frame of a log's event is put together once a node, from what the log keeps; a hint is numbered by the connection
 * that it reaches.
 */
import type { EventType, HubEvent } from '../contracts/index.ts';

export interface LogBatch {
  kind: 'log';
  /** The key of the log's metadata. */
  route: string;
  events: HubEvent[];
}

export interface HintBatch {
  kind: 'hint';
  /** `<tenant> <user, or *> <topic>` */
  route: string;
  topic: string;
  frames: string[];
}

/** What is everybody's in the tenant has `*` for the user. */
export const hintRoute = (tenantId: string, userId: string, topic: string) =>
  `${tenantId} ${topic === 'tenant' ? '*' : userId} ${topic}`;

const TYPE_AT = '{"type":"'.length;

function typeOf(json: string): EventType {
  return json.slice(TYPE_AT, json.indexOf('"', TYPE_AT)) as EventType;
}

export function encodeHint(route: string, topic: string, type: EventType, ts: string, data: unknown): string {
  return `H ${route}\n{"type":"${type}","topic":"${topic}","ts":"${ts}","data":${JSON.stringify(data)}}`;
}

/** Numbers a hint for the connection that gets it. */
export function numberHint(frame: string, topic: string, epoch: string, seq: number): HubEvent {
  const type = typeOf(frame);
  const head = `{"type":"${type}","topic":"${topic}"`;
  return { topic, epoch, seq, type, json: `${head},"epoch":"${epoch}","seq":${seq}${frame.slice(head.length)}` };
}

/** An entry of a log, as the log keeps it and the channel carries it. */
export const logEntry = (type: EventType, ts: string, data: string) => `${type} ${ts} ${data}`;

/** Takes an entry apart and makes the frame that clients get. */
export function logEvent(topic: string, epoch: string, seq: number, entry: string): HubEvent & { data: string } {
  const typeEnd = entry.indexOf(' ');
  const tsEnd = entry.indexOf(' ', typeEnd + 1);
  const type = entry.slice(0, typeEnd) as EventType;
  const ts = entry.slice(typeEnd + 1, tsEnd);
  const data = entry.slice(tsEnd + 1);
  const json = `{"type":"${type}","topic":"${topic}","epoch":"${epoch}","seq":${seq},"ts":"${ts}","data":${data}}`;
  return { topic, epoch, seq, type, json, data };
}

export interface Wanted {
  /** The topic of a log that has readers here. */
  log(route: string): string | undefined;
  hint(route: string): boolean;
}

/** Takes a message apart, leaving out what nobody wants before looking at its lines. */
export function decodeBatch(message: string, wanted: Wanted): (LogBatch | HintBatch)[] {
  const batches: (LogBatch | HintBatch)[] = [];
  const lines = message.split('\n');
  for (let at = 0; at < lines.length; ) {
    const header = lines[at] ?? '';
    let end = at + 1;
    while (end < lines.length && !isHeader(lines[end] ?? '')) end++;
    const kind = header.charCodeAt(0);
    if (kind === LOG) {
      const cut = header.indexOf(' ', 2);
      const route = header.slice(2, cut);
      const topic = wanted.log(route);
      if (topic !== undefined) {
        const epochEnd = header.indexOf(' ', cut + 1);
        const epoch = header.slice(cut + 1, epochEnd);
        const seq = Number(header.slice(epochEnd + 1, header.indexOf(' ', epochEnd + 1)));
        const events: HubEvent[] = [];
        for (let i = at + 1; i < end; i++) events.push(logEvent(topic, epoch, seq - (end - 1 - i), lines[i] ?? ''));
        batches.push({ kind: 'log', route, events });
      }
    } else if (kind === HINT) {
      const route = header.slice(2);
      if (wanted.hint(route)) {
        const topic = route.slice(route.lastIndexOf(' ') + 1);
        batches.push({ kind: 'hint', route, topic, frames: lines.slice(at + 1, end) });
      }
    }
    at = end;
  }
  return batches;
}

const LOG = 'L'.charCodeAt(0);
const HINT = 'H'.charCodeAt(0);
const isHeader = (line: string) => (line.charCodeAt(0) === LOG || line.charCodeAt(0) === HINT) && line[1] === ' ';
