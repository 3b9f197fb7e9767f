/** Presentations of before 2007, as small as readers accept them. Layout: [MS-PPT] 2.3 to 2.5. */
import { cfb } from './documents-cfb.ts';

const ATOM = 0;
const CONTAINER = 15;

export function record(type: number, content: Uint8Array | readonly Uint8Array[], instance = 0): Buffer {
  const parts = content instanceof Uint8Array ? [content] : content;
  const body = Buffer.concat([...parts]);
  const header = Buffer.alloc(8);
  header.writeUInt16LE((instance << 4) | (content instanceof Uint8Array ? ATOM : CONTAINER), 0);
  header.writeUInt16LE(type, 2);
  header.writeUInt32LE(body.length, 4);
  return Buffer.concat([header, body]);
}

export function longs(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32LE(value >>> 0, i * 4);
  return bytes;
}

/** A text with its kind: 0 a title, 1 a body, 2 notes, 4 anything. `latin` in bytes, else in characters. */
export const text = (kind: number, words: string, latin = false): Buffer =>
  Buffer.concat([
    record(0x0f9f, longs(kind)),
    latin ? record(0x0fa8, Buffer.from(words, 'latin1')) : record(0x0fa0, Buffer.from(words, 'utf16le')),
  ]);

/** A box of a slide, with what is in it. */
export const box = (...content: Uint8Array[]): Buffer => record(0xf004, [record(0xf00d, content)]);

/** Text that is kept with the list of slides. */
export const reference = (index: number): Buffer => box(record(0x0f9e, longs(index)));

const drawing = (shapes: readonly Uint8Array[]) =>
  record(0x040c, [record(0xf002, [record(0xf003, [record(0xf004, []), ...shapes])])]);

export const slide = (shapes: readonly Uint8Array[], notesId = 0): Buffer =>
  record(0x03ee, [record(0x03ef, Buffer.concat([longs(0, 0, 0, 0, notesId), longs(0)])), drawing(shapes)]);

export const notesPage = (slideId: number, shapes: readonly Uint8Array[]): Buffer =>
  record(0x03f0, [record(0x03f1, longs(slideId, 0)), drawing(shapes)]);

export interface Presentation {
  /** Slides and pages of notes by their numbers, as they lie in the file; the document is number 1. */
  objects: Readonly<Record<number, Uint8Array>>;
  /** In their order: which object, and the texts that its boxes refer to. */
  slides: readonly { object: number; id: number; outline?: readonly Uint8Array[] }[];
  notes?: readonly { object: number; id: number }[];
  /** Objects that a later save put in the place of earlier ones. */
  replaced?: Readonly<Record<number, Uint8Array>>;
  macros?: boolean;
  encrypted?: boolean;
  /** Where the save before the last one is said to be; nowhere. */
  saveBefore?: 'itself';
}

export function ppt(presentation: Presentation): Uint8Array {
  const { objects, slides, notes = [], replaced = {}, macros = false, encrypted = false, saveBefore } = presentation;
  const list = (instance: number, items: Presentation['slides']) =>
    record(
      0x0ff0,
      items.flatMap(({ object, id, outline = [] }) => [record(0x03f3, longs(object, 0, 0, id, 0)), ...outline]),
      instance,
    );
  const vba = record(0x07d0, [record(0x03ff, [record(0x0400, longs(9, 1, 2))])]);
  const document = record(0x03e8, [...(macros ? [vba] : []), list(0, slides), list(2, notes)]);

  const pieces: Buffer[] = [];
  let at = 0;
  const put = (bytes: Uint8Array): number => {
    const start = at;
    pieces.push(Buffer.from(bytes));
    at += bytes.length;
    return start;
  };
  const save = (saved: [number, Uint8Array][], before: number): number => {
    const runs = saved.map(([id, bytes]) => longs(id | (1 << 20), put(bytes)));
    const directory = put(record(0x1772, Buffer.concat(runs)));
    return put(record(0x0ff5, longs(0, 0, before, directory, 1, 0, 0)));
  };
  const all = Object.entries(objects).map(([id, bytes]): [number, Uint8Array] => [Number(id), bytes]);
  const changed = Object.entries(replaced).map(([id, bytes]): [number, Uint8Array] => [Number(id), bytes]);
  let last = save([[1, document], ...all], 0);
  if (changed.length > 0) last = save(changed, last);
  const stream = Buffer.concat(pieces);
  if (saveBefore === 'itself') stream.writeUInt32LE(last, last + 16);
  const user = Buffer.concat([longs(0, 12, 20, encrypted ? 0xf3d1c4df : 0xe391c05f, last), Buffer.alloc(12)]);
  return cfb({ 'PowerPoint Document': stream, 'Current User': user });
}
