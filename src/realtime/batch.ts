/**
 * What travels over a partition's channel: lines. A header says whom the lines after it concern; every other line is one
 * JSON object. JSON escapes newlines, and a header never starts with `{`, so nothing needs quoting.
 *
 *     L <tenant> <topic> <epoch> <seq of the first event>        then finished frames, numbered on from there
 *     H <tenant> <user, or *> <topic>                            then frames that lack `epoch` and `seq`
 *
 * Frames of a log are finished where they are numbered (in Lua), so that no node encodes them again; a hint is numbered
 * by the connection that it reaches.
 */
import type { EventType, HubEvent } from '../contracts/index.ts';

export interface LogBatch {
  kind: 'log';
  /** `<tenant> <topic>` */
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

export const logRoute = (tenantId: string, topic: string) => `${tenantId} ${topic}`;

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

/** The frame of a stream entry, exactly as `append.lua` writes it. */
export function logEvent(topic: string, epoch: string, seq: number, type: string, ts: string, data: string): HubEvent {
  const json = `{"type":"${type}","topic":"${topic}","epoch":"${epoch}","seq":${seq},"ts":"${ts}","data":${data}}`;
  return { topic, epoch, seq, type: type as EventType, json };
}

/** Takes a message apart, leaving out what `wanted` says no to before looking at its frames. */
export function decodeBatch(message: string, wanted: (route: string) => boolean): (LogBatch | HintBatch)[] {
  const batches: (LogBatch | HintBatch)[] = [];
  let current: LogBatch | HintBatch | undefined;
  let epoch = '';
  let seq = 0;
  for (const line of message.split('\n')) {
    if (line.startsWith('{')) {
      if (current?.kind === 'hint') current.frames.push(line);
      else if (current)
        current.events.push({ topic: topicOf(current.route), epoch, seq: seq++, type: typeOf(line), json: line });
      continue;
    }
    const fields = line.split(' ');
    const [kind, tenant = '', second = '', third = '', first = ''] = fields;
    current = undefined;
    if (kind === 'L') {
      const route = logRoute(tenant, second);
      epoch = third;
      seq = Number(first);
      if (wanted(route)) current = { kind: 'log', route, events: [] };
    } else if (kind === 'H') {
      const route = `${tenant} ${second} ${third}`;
      if (wanted(route)) current = { kind: 'hint', route, topic: third, frames: [] };
    }
    if (current) batches.push(current);
  }
  return batches;
}

function topicOf(route: string): string {
  return route.slice(route.indexOf(' ') + 1);
}
