/** Presentations of before 2007: slides as pages, in the order in which they are shown, with notes and comments. */
import * as XLSX from '@e965/xlsx';
import type { PageSpan } from '../../contracts/index.ts';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { markdownHeadings } from '../markdown-headings.ts';
import { openPpt, type PptDocument } from '../ppt-document.ts';
import type { PptRecord } from '../ppt-records.ts';
import { blocksOfDrawing, type PptBlock, type PptText, textsOf } from '../ppt-shapes.ts';
import { tooLarge } from '../text-output.ts';

const LIST_OF_TEXTS = 0x0ff0;
const SLIDE_PLACE = 0x03f3;
const SLIDE = 0x03ee;
const NOTES = 0x03f0;
const NOTES_ATOM = 0x03f1;
const SLIDE_ATOM = 0x03ef;
const HEADERS_FOOTERS = 0x0fd9;
const HEADERS_FOOTERS_ATOM = 0x0fda;
const HAS_FOOTER = 0x20;
/** Of a document's settings: those of notes and handouts. */
const OF_NOTES_PAGES = 4;
const STRING = 0x0fba;
/** Where PowerPoint 2000 put comments, from the slide inwards. */
const COMMENT_PATH = [0x1388, 0x138a, 0x138b, 0x2ee0];
/** Instances of the list of texts. */
const OF_SLIDES = 0;
const OF_NOTES = 2;
const NOTES_TEXT = 2;
const TITLES: ReadonlySet<number> = new Set([0, 6]);

const DUAL = 'PP97_DUALSTORAGE';

const MAX_HEADING_CHARS = 300;
const SLIDE_GAP = '\n\n';

export const extractPpt: HeldExtractor = async ({ path }, { heldChars }) => {
  const presentation = await open(path);
  const notes = notesOf(presentation);
  const pieces: string[] = [];
  const pages: PageSpan[] = [];
  let offset = 0;
  const everywhere = footerOf(presentation, presentation.document) ?? '';
  let footer = '';
  for (const [i, slide] of slidesOf(presentation, OF_SLIDES).entries()) {
    const own = footerOf(presentation, slide.record) ?? everywhere;
    const text = cleanText(slideText(presentation, slide, notes(slide), own === footer ? '' : own));
    footer = own;
    const start = offset + (i === 0 ? 0 : SLIDE_GAP.length);
    pages.push({ page: i + 1, start, end: start + text.length });
    pieces.push(text);
    offset = start + text.length;
    if (offset > heldChars) throw tooLarge(heldChars);
  }
  const text = pieces.join(SLIDE_GAP);
  const headings = markdownHeadings(text);
  return { text, title: headings.find(({ level }) => level === 1)?.title ?? null, pages, headings };
};

async function open(path: string): Promise<PptDocument> {
  try {
    const file = XLSX.CFB.read(Buffer.from(await Bun.file(path).arrayBuffer()), { type: 'buffer' });
    // Saved for PowerPoint 95 as well, which reads what lies outside.
    const home = file.FullPaths.some((name: string) => name.endsWith(`/${DUAL}/`)) ? `/${DUAL}/` : '/';
    const stream = (name: string) => Buffer.from(XLSX.CFB.find(file, `${home}${name}`)?.content ?? []);
    return openPpt(stream('PowerPoint Document'), stream('Current User'));
  } catch (error) {
    if (error instanceof RangeError || error instanceof ExtractError) throw error;
    throw new ExtractError('corrupt', 'The presentation is damaged and cannot be read.', error);
  }
}

interface Slide {
  id: number;
  record: PptRecord | undefined;
  /** Texts that its boxes refer to. */
  outline: PptText[];
}

/** Slides, or pages of notes, in their order. */
function slidesOf({ records, document, object }: PptDocument, instance: number): Slide[] {
  const lists = records.within(document).filter((one) => one.type === LIST_OF_TEXTS && one.instance === instance);
  const slides: (Slide & { inside: PptRecord[] })[] = [];
  for (const record of lists.flatMap(records.within)) {
    if (record.type === SLIDE_PLACE) {
      const at = object(records.long(record, 0));
      slides.push({ id: records.long(record, 12), record: at, outline: [], inside: [] });
    } else slides.at(-1)?.inside.push(record);
  }
  return slides.map(({ id, record, inside }) => ({ id, record, outline: textsOf(records, inside) }));
}

/** Looks up the notes of a slide. */
function notesOf(presentation: PptDocument): (slide: Slide) => string[] {
  const { records } = presentation;
  const byId = new Map<number, string[]>();
  const bySlide = new Map<number, string[]>();
  for (const { id, record, outline } of slidesOf(presentation, OF_NOTES)) {
    if (record?.type !== NOTES) continue;
    const blocks = blocksOfDrawing(records, record, outline, new Set());
    // Beside what was written stand the date and the number of the page, which are fields.
    const named = blocks.filter((block) => 'kind' in block && block.kind === NOTES_TEXT);
    const [written, other] = [named, blocks].map((some) => some.map(markdownOf).filter((text) => text !== ''));
    const texts = (written?.length ? written : other) ?? [];
    byId.set(id, texts);
    const atom = records.first(record, NOTES_ATOM);
    if (atom) bySlide.set(records.long(atom, 0), texts);
  }
  return ({ id, record }) => {
    const atom = records.first(record, SLIDE_ATOM);
    // Each says whose the other is. Copies of slides are where only the slide tells the truth.
    const own = atom ? byId.get(records.long(atom, 16)) : undefined;
    return own ?? bySlide.get(id) ?? [];
  };
}

function slideText(presentation: PptDocument, slide: Slide, notes: readonly string[], footer: string): string {
  const { records } = presentation;
  const { record, outline } = slide;
  const used = new Set<number>();
  const drawn = record?.type === SLIDE ? blocksOfDrawing(records, record, outline, used) : [];
  const blocks = [...drawn, ...outline.filter((_, i) => !used.has(i))];
  const titled = blocks.findIndex((block) => 'kind' in block && TITLES.has(block.kind));
  const ordered = titled > 0 ? [...blocks.splice(titled, 1), ...blocks] : blocks;
  const comments = commentsOf(presentation, record);
  return [
    ...ordered.map(markdownOf),
    footer,
    notes.length > 0 ? `Notes: ${notes.join('\n')}` : '',
    comments.length > 0 ? `Comments: ${comments.join('\n')}` : '',
  ]
    .filter((block) => block !== '')
    .join('\n\n');
}

function markdownOf(block: PptBlock): string {
  if ('rows' in block) return tableOf(block.rows);
  const text = tidy(block.text);
  const heading = text.replace(/\s+/g, ' ');
  return TITLES.has(block.kind) && heading !== '' && heading.length <= MAX_HEADING_CHARS ? `# ${heading}` : text;
}

function tableOf(rows: readonly (readonly string[])[]): string {
  const lines = rows
    .map((row) => row.map((cell) => tidy(cell).replace(/\s+/g, ' ').replaceAll('|', '\\|')))
    .filter((row) => row.some((cell) => cell !== ''))
    .map((row) => `| ${row.join(' | ')} |`);
  const width = rows[0]?.length ?? 0;
  return lines.length === 0 ? '' : [lines[0], `|${' --- |'.repeat(width)}`, ...lines.slice(1)].join('\n');
}

/** Paragraphs as lines, those of nothing left out. */
const tidy = (text: string) =>
  cleanText(text)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join('\n');

/** What stands below a slide, or all of them; `undefined` where nothing is said of it. */
function footerOf({ records }: PptDocument, parent: PptRecord | undefined): string | undefined {
  const found = parent ? records.within(parent) : [];
  const settings = found.find(({ type, instance }) => type === HEADERS_FOOTERS && instance !== OF_NOTES_PAGES);
  if (!settings) return undefined;
  const atom = records.first(settings, HEADERS_FOOTERS_ATOM);
  if (!atom || ((records.long(atom, 0) >>> 16) & HAS_FOOTER) === 0) return '';
  const strings = records.within(settings).filter(({ type, instance }) => type === STRING && instance === 2);
  return strings.map((one) => tidy(records.bytes(one).toString('utf16le'))).join(' ');
}

function commentsOf({ records }: PptDocument, slide: PptRecord | undefined): string[] {
  let found = slide ? [slide] : [];
  for (const type of COMMENT_PATH) {
    found = found.flatMap((record) => records.within(record).filter((one) => one.type === type));
  }
  return found.flatMap((comment) =>
    records
      .within(comment)
      .filter(({ type, instance }) => type === STRING && instance === 1)
      .map((one) => tidy(records.bytes(one).toString('utf16le')))
      .filter((text) => text !== ''),
  );
}
