/** The texts of a slide's drawing, in its order: boxes, drawn letters (WordArt), and tables, which are groups of boxes. */
import type { PptRecord, PptRecords } from './ppt-records.ts';

const DRAWING = 0x040c;
const DRAWING_CONTAINER = 0xf002;
const GROUP = 0xf003;
const SHAPE = 0xf004;
const PROPERTIES = 0xf00b;
const MORE_PROPERTIES = 0xf122;
const TEXT_BOX = 0xf00d;
const PLACE_IN_GROUP = 0xf00f;
const OUTLINE_REFERENCE = 0x0f9e;
const TEXT_HEADER = 0x0f9f;
const TEXT_CHARS = 0x0fa0;
const TEXT_BYTES = 0x0fa8;
/** Number of the slide, three kinds of date, header, footer: where each shows, an asterisk stands. */
const FIELDS: ReadonlySet<number> = new Set([0x0fd8, 0x0ff7, 0x0ff8, 0x0ff9, 0x0ffa, 0x1015]);
/** Property of drawn letters: [MS-ODRAW] 2.3.22.1. */
const DRAWN_TEXT = 0x00c0;
/** Property of a group that is a table: [MS-ODRAW] 2.3.4.36. */
const TABLE = 0x039f;
const MAX_DEPTH = 40;

export interface PptText {
  /** [MS-PPT] 2.13.33: 0 and 6 titles, 2 notes. */
  kind: number;
  /** Paragraphs end in `\r`. */
  text: string;
}

/** A text, or a table's rows of cells. */
export type PptBlock = PptText | { rows: string[][] };

/** Texts that follow each other in a record: those of an outline, or the one of a box. */
export function textsOf(records: PptRecords, siblings: readonly PptRecord[]): PptText[] {
  const texts: PptText[] = [];
  let kind = 4;
  for (const record of siblings) {
    if (record.type === TEXT_HEADER) kind = records.long(record, 0);
    else if (record.type === TEXT_CHARS || record.type === TEXT_BYTES) {
      // Bytes are the lower halves of characters whose upper halves are 0.
      const encoding = record.type === TEXT_CHARS ? 'utf16le' : 'latin1';
      texts.push({ kind, text: records.bytes(record).toString(encoding) });
    } else if (FIELDS.has(record.type)) {
      const last = texts.at(-1);
      const at = records.long(record, 0);
      // A character of its own, so that those behind keep their places.
      if (last?.text[at] === '*') last.text = `${last.text.slice(0, at)}\0${last.text.slice(at + 1)}`;
    }
  }
  return texts;
}

/** `outline` are the texts that boxes refer to by number; which of them were, is left in `used`. */
export function blocksOfDrawing(
  records: PptRecords,
  slide: PptRecord,
  outline: readonly PptText[],
  used: Set<number>,
): PptBlock[] {
  const drawing = records.first(records.first(slide, DRAWING), DRAWING_CONTAINER);
  const root = records.first(drawing, GROUP);
  return root ? ofGroup(root, 0) : [];

  function ofGroup(group: PptRecord, depth: number): PptBlock[] {
    if (depth > MAX_DEPTH) return [];
    const children = records.within(group);
    const [own] = children;
    const isTable = own?.type === SHAPE && (propertiesOf(records, own).get(TABLE)?.value ?? 0) & 1;
    if (isTable) return [{ rows: rowsOf(children.slice(1)) }];
    return children.flatMap((child) =>
      child.type === GROUP ? ofGroup(child, depth + 1) : child.type === SHAPE ? ofShape(child) : [],
    );
  }

  function ofShape(shape: PptRecord): PptText[] {
    const boxes = records.within(shape).filter(({ type }) => type === TEXT_BOX);
    const texts = boxes.flatMap((box) => {
      const inside = records.within(box);
      const reference = inside.find(({ type }) => type === OUTLINE_REFERENCE);
      const index = reference ? records.long(reference, 0) : -1;
      const referred = outline[index];
      if (!referred) return textsOf(records, inside);
      used.add(index);
      return [referred];
    });
    const drawn = propertiesOf(records, shape).get(DRAWN_TEXT)?.text ?? '';
    return texts.length > 0 || drawn === '' ? texts : [{ kind: 4, text: drawn }];
  }

  /** Cells by where they stand; a cell over several columns stands in the first of them. */
  function rowsOf(shapes: readonly PptRecord[]): string[][] {
    const cells = shapes.flatMap((shape) => {
      const place = shape.type === SHAPE ? records.first(shape, PLACE_IN_GROUP) : undefined;
      if (!place || !records.first(shape, TEXT_BOX)) return [];
      const text = ofShape(shape)
        .map((one) => one.text)
        .join('\r');
      return [{ x: records.long(place, 0) | 0, y: records.long(place, 4) | 0, text }];
    });
    const columns = [...new Set(cells.map(({ x }) => x))].toSorted((a, b) => a - b);
    const lines = [...new Set(cells.map(({ y }) => y))].toSorted((a, b) => a - b);
    if (columns.length * lines.length > MOST_CELLS) return cells.map(({ text }) => [text]);
    const rows = lines.map(() => columns.map(() => ''));
    for (const { x, y, text } of cells) {
      const row = rows[lines.indexOf(y)];
      if (row) row[columns.indexOf(x)] = text;
    }
    return rows;
  }
}

const MOST_CELLS = 10_000;

/** What is said of a shape, by number. Layout: [MS-ODRAW] 2.2.9. */
function propertiesOf(records: PptRecords, shape: PptRecord): Map<number, { value: number; text: string }> {
  const properties = new Map<number, { value: number; text: string }>();
  for (const record of records.within(shape)) {
    if (record.type !== PROPERTIES && record.type !== MORE_PROPERTIES) continue;
    const bytes = records.bytes(record);
    let data = record.instance * 6;
    for (let at = 0; at < record.instance * 6 && at + 6 <= bytes.length; at += 6) {
      const id = bytes.readUInt16LE(at);
      const value = bytes.readUInt32LE(at + 2);
      const complex = (id & 0x8000) !== 0;
      const text = complex && (id & 0x3fff) === DRAWN_TEXT ? bytes.toString('utf16le', data, data + value) : '';
      properties.set(id & 0x3fff, { value, text: text.replace(/\0.*$/s, '') });
      if (complex) data += value;
    }
  }
  return properties;
}
