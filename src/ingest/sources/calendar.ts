/** Events of an iCalendar (RFC 5545), by its address or as a file: each becomes a short Markdown text of its own. */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { type Static, Type } from '@sinclair/typebox';
import ical, { type ParameterValue, type VEvent } from 'node-ical';
import type { SourceContent, SourceItem, SourceProvider, SourceRun } from '../../contracts/index.ts';
import { isStorable } from '../../kernel/text/storable.ts';
import { bytesOf, conditionOf, type SourceHttp, unavailable, validatorOf } from './http.ts';
import { SourceError } from './source-error.ts';

const Settings = Type.Object({
  url: Type.Optional(Type.String({ pattern: '^(https?|webcal)://', maxLength: 2_000, description: 'Of the calendar' })),
  file: Type.Optional(Type.Boolean({ description: 'An .ics file is sent to `PUT /sources/{id}/file`' })),
});

const MAX_CALENDAR_BYTES = 32 * 1024 * 1024;
const MAX_KEY_BYTES = 2_000;
/** Where events are read one by one, each with its zones. */
const MAX_ZONE_CHARS = 64 * 1024;
/** Written before others have a turn. */
const EVENTS_AT_ONCE = 200;

const textOf = (value: ParameterValue | undefined): string =>
  (typeof value === 'object' ? String((value as { val?: unknown }).val ?? '') : String(value ?? '')).trim();

const nothing = {
  async *list(): AsyncGenerator<SourceItem> {},
  fetch: async () => 'gone' as const,
};

/** A time in the event's own zone, with its name; '' for what is none: what cannot be read is left as it is. */
function timeOf(at: (Date & { tz?: string; dateOnly?: boolean }) | undefined): string {
  if (!(at instanceof Date) || Number.isNaN(at.getTime())) return '';
  if (at.dateOnly) return DAY.format(at);
  const [zone, format] = inZone(at.tz);
  return `${format.format(at)} (${zone})`;
}

const DAY = new Intl.DateTimeFormat('sv-SE');
const MOST_ZONES = 1_000;
/** Making one takes longer than all the rest of an event. */
const formats = new Map<string, [string, Intl.DateTimeFormat]>();

function inZone(name = 'UTC'): [string, Intl.DateTimeFormat] {
  const known = formats.get(name);
  if (known) return known;
  const made = formatOf(name) ?? inZone('UTC');
  if (formats.size < MOST_ZONES) formats.set(name, made);
  return made;
}

function formatOf(zone: string): [string, Intl.DateTimeFormat] | undefined {
  try {
    return [zone, new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'short', timeZone: zone })];
  } catch {
    return undefined;
  }
}

function peopleOf(value: unknown): string[] {
  const list = Array.isArray(value) ? value : value === undefined ? [] : [value];
  return list.map((one: unknown) => {
    const { params, val } = (typeof one === 'object' && one !== null ? one : { val: one }) as {
      params?: { CN?: string };
      val?: unknown;
    };
    const address = String(val ?? '').replace(/^mailto:/i, '');
    const name = params?.CN?.replaceAll('"', '');
    return name && name !== address ? `${name} <${address}>` : address;
  });
}

function markdownOf(event: VEvent): string {
  const lines = [`# ${textOf(event.summary) || 'Event'}`, ''];
  const [start, end] = [timeOf(event.start), timeOf(event.end)];
  if (start) lines.push(`- When: ${start}${end && end !== start ? ` – ${end}` : ''}`);
  if (event.rrule) lines.push(`- Repeats: ${event.rrule.toText()}`);
  if (textOf(event.location)) lines.push(`- Where: ${textOf(event.location)}`);
  const organizer = peopleOf(event.organizer);
  if (organizer.length > 0) lines.push(`- Organizer: ${organizer.join(', ')}`);
  const attendees = peopleOf(event.attendee);
  if (attendees.length > 0) lines.push(`- Attendees: ${attendees.join(', ')}`);
  if (event.status === 'CANCELLED') lines.push('- Cancelled');
  if (textOf(event.description)) lines.push('', textOf(event.description));
  return `${lines.join('\n')}\n`;
}

interface Entry {
  text: string;
  title: string;
  error?: string;
}

function entryOf(found: Found): Entry {
  if ('error' in found) return { text: '', title: 'Event', ...found };
  try {
    const title = textOf(found.event.summary).slice(0, 500).toWellFormed() || 'Event';
    return { text: markdownOf(found.event), title };
  } catch {
    return entryOf(UNREADABLE);
  }
}

/** An event, or why it cannot be read. */
type Found = { event: VEvent } | { error: string };
const UNREADABLE = { error: 'The event cannot be read: its dates or its repetition are not valid.' };

/** Every event, and every one of a series that differs from the others. Breathes in between: a calendar may be large. */
async function eventsOf(text: string): Promise<Map<string, Found>> {
  if (!/^BEGIN:VCALENDAR\b/m.test(text)) throw new SourceError('This is no calendar.');
  const events = new Map<string, Found>();
  try {
    await readInto(events, text);
    return events;
  } catch {
    // One event that the parser breaks on is one event.
    return eventsApart(text);
  }
}

async function readInto(events: Map<string, Found>, text: string, name?: string): Promise<void> {
  for (const component of Object.values(await ical.async.parseICS(text))) {
    if (component?.type !== 'VEVENT') continue;
    // Without a name of its own, an event is what it says.
    const uid = component.uid || name || createHash('sha256').update(markdownOf(component)).digest('hex');
    events.set(uid, { event: component });
    // Each stands there twice, by its day and by its time.
    const exceptions = new Map<unknown, string>();
    for (const [at, one] of Object.entries(component.recurrences ?? {})) {
      if (at.length > (exceptions.get(one)?.length ?? 0)) exceptions.set(one, at);
    }
    for (const [one, at] of exceptions) events.set(`${uid} ${at}`, { event: one as VEvent });
  }
}

/** Each event and its exceptions by themselves, with the time zones that the calendar defines. */
async function eventsApart(text: string): Promise<Map<string, Found>> {
  const zones = blocksOf(text, 'VTIMEZONE');
  const defined = zones.reduce((chars, { length }) => chars + length, 0) <= MAX_ZONE_CHARS ? zones : [];
  const groups = new Map<string, string[]>();
  for (const block of blocksOf(text, 'VEVENT')) {
    const uid = /^UID(?:;[^:\r\n]*)?:(.*(?:\r?\n[ \t].*)*)/m
      .exec(block)?.[1]
      ?.replace(/\r?\n[ \t]/g, '')
      .trim();
    const name = uid || createHash('sha256').update(block).digest('hex');
    const group = groups.get(name) ?? [];
    group.push(block);
    groups.set(name, group);
  }
  const events = new Map<string, Found>();
  for (const [name, blocks] of groups) {
    const alone = ['BEGIN:VCALENDAR', 'VERSION:2.0', ...defined, ...blocks, 'END:VCALENDAR', ''].join('\r\n');
    try {
      await readInto(events, alone, name);
    } catch {
      events.set(name, UNREADABLE);
    }
  }
  return events;
}

/** Components of a kind, which are never within one another. */
function blocksOf(text: string, kind: string): string[] {
  const [, ...rest] = text.split(new RegExp(`^BEGIN:${kind}\\b`, 'm'));
  const end = `\nEND:${kind}`;
  return rest.flatMap((block) => {
    const at = block.indexOf(end);
    return at < 0 ? [] : [`BEGIN:${kind}${block.slice(0, at)}${end}`];
  });
}

async function* once(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

async function allOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_CALENDAR_BYTES) throw new SourceError(`The calendar is larger than ${MAX_CALENDAR_BYTES} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function createCalendarProvider({ http }: { http: SourceHttp }): SourceProvider {
  /** Undefined where the server says that nothing has changed. */
  async function download(url: string, validator: string | null, { signal }: SourceRun) {
    const answer = await http.get({
      url: url.replace(/^webcal:/, 'https:'),
      headers: { accept: 'text/calendar', ...conditionOf(validator) },
      signal,
    });
    if (answer.status === 304) {
      answer.discard();
      return undefined;
    }
    if (answer.status !== 200) {
      answer.discard();
      throw unavailable(answer);
    }
    return { text: (await bytesOf(answer, MAX_CALENDAR_BYTES)).toString('utf8'), validator: validatorOf(answer) };
  }

  return {
    kind: 'calendar',
    settings: Settings,
    secrets: [],

    async check(settings) {
      const { url, file } = settings as Static<typeof Settings>;
      if ((url !== undefined) === (file === true)) throw new SourceError('Name one of: url, file.');
    },

    async open(run) {
      const { url } = run.settings as Static<typeof Settings>;
      const validator = typeof run.cursor === 'string' ? run.cursor : null;
      const found =
        url === undefined
          ? { text: (await allOf(await run.file())).toString('utf8'), validator: null }
          : await download(url, validator, run);
      if (!found) return { ...nothing, unchanged: true, cursor: () => validator };
      const texts = new Map<string, Entry>();
      let count = 0;
      // NUL stands in no text that could be read.
      for (const [uid, one] of await eventsOf(found.text.replaceAll('\0', ''))) {
        const isName = uid !== '' && Buffer.byteLength(uid) <= MAX_KEY_BYTES && isStorable(uid);
        const key = isName ? uid : createHash('sha256').update(uid).digest('hex');
        texts.set(key, entryOf(one));
        if (++count % EVENTS_AT_ONCE === 0) await setImmediate();
      }
      return {
        cursor: () => found.validator,
        async *list(): AsyncGenerator<SourceItem> {
          for (const [key, event] of texts) {
            yield { key, fingerprint: createHash('sha256').update(event.text).digest('hex') };
          }
        },
        async fetch({ key, fingerprint }): Promise<SourceContent | 'gone'> {
          const event = texts.get(key);
          if (!event) return 'gone';
          if (event.error !== undefined) throw new SourceError(event.error);
          return {
            body: once(event.text),
            filename: `${event.title.slice(0, 200)}.md`,
            title: event.title,
            fingerprint,
          };
        },
      };
    },
  };
}
