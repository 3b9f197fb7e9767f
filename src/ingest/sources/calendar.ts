/** Events of an iCalendar (RFC 5545), by its address or as a file: each becomes a short Markdown text of its own. */
import { createHash } from 'node:crypto';
import { type Static, Type } from '@sinclair/typebox';
import ical, { type ParameterValue, type VEvent } from 'node-ical';
import type { SourceContent, SourceItem, SourceProvider, SourceRun } from '../../contracts/index.ts';
import { bytesOf, conditionOf, refusal, type SourceHttp, validatorOf } from './http.ts';
import { SourceError, SourceUnavailable } from './source-error.ts';

const Settings = Type.Object({
  url: Type.Optional(Type.String({ pattern: '^(https?|webcal)://', maxLength: 2_000, description: 'Of the calendar' })),
  file: Type.Optional(Type.Boolean({ description: 'An .ics file is sent to `PUT /sources/{id}/file`' })),
});

const MAX_CALENDAR_BYTES = 32 * 1024 * 1024;
const MAX_KEY_BYTES = 2_000;

const textOf = (value: ParameterValue | undefined): string =>
  (typeof value === 'object' ? String((value as { val?: unknown }).val ?? '') : String(value ?? '')).trim();

const nothing = {
  async *list(): AsyncGenerator<SourceItem> {},
  fetch: async () => 'gone' as const,
};

/** In the event's own zone, with its name. */
function timeOf(at: Date & { tz?: string; dateOnly?: boolean }): string {
  if (at.dateOnly) return new Intl.DateTimeFormat('sv-SE').format(at);
  const zone = at.tz && isZone(at.tz) ? at.tz : 'UTC';
  const format = new Intl.DateTimeFormat('sv-SE', { dateStyle: 'short', timeStyle: 'short', timeZone: zone });
  return `${format.format(at)} (${zone})`;
}

function isZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) !== undefined;
  } catch {
    return false;
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
  lines.push(`- When: ${timeOf(event.start)}${event.end ? ` – ${timeOf(event.end)}` : ''}`);
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

/** Every event, and every one of a series that differs from the others. */
function eventsOf(text: string): Map<string, VEvent> {
  if (!/^BEGIN:VCALENDAR\b/m.test(text)) throw new SourceError('This is no calendar.');
  const events = new Map<string, VEvent>();
  for (const component of Object.values(ical.sync.parseICS(text))) {
    if (component?.type !== 'VEVENT') continue;
    events.set(component.uid, component);
    for (const [at, one] of Object.entries(component.recurrences ?? {})) {
      events.set(`${component.uid} ${at}`, one as VEvent);
    }
  }
  return events;
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
      throw new SourceUnavailable(refusal(answer).message);
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
      const texts = new Map<string, { text: string; title: string }>();
      for (const [uid, event] of eventsOf(found.text)) {
        const key = Buffer.byteLength(uid) <= MAX_KEY_BYTES ? uid : createHash('sha256').update(uid).digest('hex');
        texts.set(key, { text: markdownOf(event), title: textOf(event.summary).slice(0, 500) || 'Event' });
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
