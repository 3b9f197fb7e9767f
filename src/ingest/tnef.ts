/**
 * Outlook's own packing of a message (TNEF, `winmail.dat`): what it says and what is attached. A file is a row of counted
 * attributes; most of what they say stands in lists of properties. Layout: [MS-OXTNEF] 2.1; numbers: [MS-OXPROPS].
 */
import { decode, detectCharset, knownCharset } from './charset.ts';
import { ExtractError } from './extract-error.ts';

/** A value's bytes, and whether they are characters of 16 bits. */
export interface TnefValue {
  bytes: Buffer;
  wide: boolean;
}
export type TnefProperties = ReadonlyMap<number, TnefValue>;

export interface TnefAttachment {
  properties: TnefProperties;
  title: TnefValue | undefined;
  data: Buffer | undefined;
}

export interface Tnef {
  properties: TnefProperties;
  recipients: readonly TnefProperties[];
  attachments: readonly TnefAttachment[];
  /** What programs without properties wrote. */
  subject: TnefValue | undefined;
  body: TnefValue | undefined;
  /** Clear text of a value, without the zero that ends it. */
  text(value: TnefValue | undefined): string;
}

const SIGNATURE = 0x223e9f78;
const ATTRIBUTE_HEADER = 9;
const SUBJECT = 0x00018004;
const BODY = 0x0002800c;
const CODE_PAGE = 0x00069007;
const MESSAGE_PROPERTIES = 0x00069003;
const RECIPIENTS = 0x00069004;
const NEW_ATTACHMENT = 0x00069002;
const ATTACHMENT_TITLE = 0x00018010;
const ATTACHMENT_DATA = 0x0006800f;
const ATTACHMENT_PROPERTIES = 0x00069005;

const MOST_RECIPIENTS = 2000;

export const isTnef = (bytes: Uint8Array): boolean =>
  bytes.length >= 6 && Buffer.from(bytes.buffer, bytes.byteOffset, 4).readUInt32LE(0) === SIGNATURE;

/** Reads as far as it is whole: what breaks off in its last attachment has said the rest. Throws `corrupt` for none. */
export function readTnef(file: Uint8Array): Tnef {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (!isTnef(bytes)) throw damaged();
  const attachments: { properties: Map<number, TnefValue>; title?: TnefValue; data?: Buffer }[] = [];
  const properties = new Map<number, TnefValue>();
  const recipients: TnefProperties[] = [];
  let subject: TnefValue | undefined;
  let body: TnefValue | undefined;
  let charset: string | undefined;
  let found = 0;
  for (let at = 6; at + ATTRIBUTE_HEADER <= bytes.length; ) {
    const id = bytes.readUInt32LE(at + 1);
    const length = bytes.readUInt32LE(at + 5);
    const start = at + ATTRIBUTE_HEADER;
    if (start + length > bytes.length) break;
    const value = bytes.subarray(start, start + length);
    // A checksum of two bytes stands behind, and is wrong often enough to be of no use.
    at = start + length + 2;
    found += 1;
    const last = attachments.at(-1);
    if (id === NEW_ATTACHMENT) attachments.push({ properties: new Map() });
    else if (id === SUBJECT) subject = { bytes: value, wide: false };
    else if (id === BODY) body = { bytes: value, wide: false };
    else if (id === CODE_PAGE && value.length >= 4) charset = charsetOf(value.readUInt32LE(0));
    else if (id === MESSAGE_PROPERTIES) readProperties(value, 0, properties);
    else if (id === RECIPIENTS) recipients.push(...rowsOf(value));
    else if (id === ATTACHMENT_TITLE && last) last.title = { bytes: value, wide: false };
    else if (id === ATTACHMENT_DATA && last) last.data = value;
    else if (id === ATTACHMENT_PROPERTIES && last) readProperties(value, 0, last.properties);
  }
  if (found === 0) throw damaged();

  function text(value: TnefValue | undefined): string {
    if (!value) return '';
    const { bytes: said, wide } = value;
    const label = wide ? 'utf-16le' : (charset ?? detectCharset(said, true) ?? 'windows-1252');
    return decode(said, label).replace(/\0+$/, '');
  }

  return {
    properties,
    recipients,
    attachments: attachments.map(({ title, data, ...rest }) => ({ ...rest, title, data })),
    subject,
    body,
    text,
  };
}

/** Code pages of Windows, by the names under which the world knows them. */
function charsetOf(codePage: number): string | undefined {
  const named: Readonly<Record<number, string>> = {
    932: 'shift_jis',
    936: 'gb18030',
    949: 'euc-kr',
    950: 'big5',
    1200: 'utf-16le',
    20866: 'koi8-r',
    50220: 'iso-2022-jp',
    51932: 'euc-jp',
    54936: 'gb18030',
    65001: 'utf-8',
  };
  const iso = codePage > 28_590 && codePage < 28_606 ? `iso-8859-${codePage - 28_590}` : `windows-${codePage}`;
  return knownCharset(named[codePage] ?? iso);
}

function rowsOf(table: Buffer): TnefProperties[] {
  const rows: TnefProperties[] = [];
  const count = table.length >= 4 ? table.readUInt32LE(0) : 0;
  for (let at = 4; at < table.length && rows.length < Math.min(count, MOST_RECIPIENTS); ) {
    const row = new Map<number, TnefValue>();
    at = readProperties(table, at, row);
    rows.push(row);
  }
  return rows;
}

/** Bytes of values of one length, by their types; narrower ones are filled up. */
const FIXED: Readonly<Record<number, number>> = {
  2: 4,
  3: 4,
  4: 4,
  5: 8,
  6: 8,
  7: 8,
  10: 4,
  11: 4,
  20: 8,
  64: 8,
  72: 16,
};
const COUNTED: ReadonlySet<number> = new Set([0x0d, 0x1e, 0x1f, 0x102]);
const UNICODE = 0x1f;
const MANY = 0x1000;
const FIRST_NAMED = 0x8000;

/** Adds a list of properties, and returns where it ends. Of a list that is broken, those before are kept. */
function readProperties(list: Buffer, start: number, properties: Map<number, TnefValue>): number {
  let at = start;
  const long = () => {
    if (at + 4 > list.length) throw new BrokenList();
    at += 4;
    return list.readUInt32LE(at - 4);
  };
  const take = (bytes: number) => {
    if (at + bytes > list.length) throw new BrokenList();
    const value = list.subarray(at, at + bytes);
    at += bytes + (-bytes & 3);
    return value;
  };
  try {
    for (let left = long(); left > 0; left--) {
      const tag = long();
      const [type, id] = [tag & 0xffff, tag >>> 16];
      if (id >= FIRST_NAMED) {
        take(16);
        if (long() === 0) long();
        else take(long());
      }
      const kind = type & ~MANY;
      const isCounted = COUNTED.has(kind);
      const fixed = FIXED[kind];
      if (!isCounted && fixed === undefined) throw new BrokenList();
      const values = isCounted || (type & MANY) !== 0 ? long() : 1;
      for (let i = 0; i < values; i++) {
        const bytes = take(isCounted ? long() : (fixed ?? 0));
        if (i === 0 && id < FIRST_NAMED) properties.set(id, { bytes, wide: kind === UNICODE });
      }
    }
  } catch (error) {
    if (!(error instanceof BrokenList)) throw error;
    return list.length;
  }
  return at;
}

class BrokenList extends Error {}

const damaged = () => new ExtractError('corrupt', 'The message (TNEF) is damaged and cannot be read.');
