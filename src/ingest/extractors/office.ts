/**
 * Presentations and OpenDocument text through officeparser, from parts that were unpacked within our limits and packed
 * anew. A presentation's slides are its pages.
 */
import type { OfficeContentNode, OfficeParserAST } from 'officeparser';
import officeParser from 'officeparser';
import type { ExtractedDocument, PageSpan } from '../../contracts/index.ts';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { markdownHeadings } from '../markdown-headings.ts';
import { unpackOpenDocument } from '../odf-parts.ts';
import { unpackOffice } from '../office-parts.ts';
import { blocksOf } from '../office-tree.ts';
import { storedZip } from '../zip-write.ts';

type ChartData = NonNullable<OfficeParserAST['attachments'][number]['chartData']>;
type Format = 'pptx' | 'odt' | 'odp' | 'rtf';

const SLIDE_GAP = '\n\n';

export const extractPptx: HeldExtractor = async ({ path }) =>
  slides(await parseOffice(storedZip(await unpackOffice(path)), 'pptx', 'The presentation'));

export const extractOdp: HeldExtractor = async ({ path }) =>
  slides(await parseOffice(storedZip(await unpackOpenDocument(path)), 'odp', 'The presentation'));

export const extractOdt: HeldExtractor = async ({ path }) =>
  plain(await parseOffice(storedZip(await unpackOpenDocument(path)), 'odt', 'The document'));

/** Rejects with `ExtractError`. `what` begins the sentence that says so. */
export async function parseOffice(bytes: Buffer, format: Format, what: string): Promise<OfficeParserAST> {
  try {
    return await officeParser.parseOffice(bytes, {
      fileType: format,
      // Numbers of charts come with them; pictures were not unpacked.
      extractAttachments: format === 'pptx',
      ocr: false,
      ignoreSlideMasters: true,
      ignoreHeadersAndFooters: false,
    });
  } catch (error) {
    if (error instanceof RangeError || error instanceof ExtractError) throw error;
    // Its errors say what they are in words alone.
    const said = error instanceof Error ? error.message : '';
    if (/limit|depth|denial-of-service|too large/i.test(said)) {
      throw new ExtractError(
        'limits_exceeded',
        `${what} is larger or more deeply nested than a document may be.`,
        error,
      );
    }
    if (/password|decrypt/i.test(said))
      throw new ExtractError('encrypted', `${what} is protected with a password.`, error);
    throw new ExtractError('corrupt', `${what} is damaged and cannot be read.`, error);
  }
}

/** A document without pages. */
export function plain({ content, metadata }: OfficeParserAST): ExtractedDocument {
  const text = cleanText(blocksOf(content).join('\n\n'));
  return titled(text, metadata.title, []);
}

function slides({ content, metadata, attachments }: OfficeParserAST): ExtractedDocument {
  const charts = new Map(attachments.flatMap(({ name, chartData }) => (name && chartData ? [[name, chartData]] : [])));
  for (const slide of content) nameCharts(slide, charts);
  const pieces: string[] = [];
  const pages: PageSpan[] = [];
  let offset = 0;
  content.forEach((slide, i) => {
    const text = cleanText(slideText(slide));
    const start = offset + (i === 0 ? 0 : SLIDE_GAP.length);
    pages.push({ page: i + 1, start, end: start + text.length });
    pieces.push(text);
    offset = start + text.length;
  });
  return titled(pieces.join(SLIDE_GAP), metadata.title, pages);
}

/** A chart's numbers as a table, a line a label, instead of as the bare words that are in it. */
function nameCharts(node: OfficeContentNode, charts: ReadonlyMap<string, ChartData>): void {
  const chart = node.type === 'chart' ? charts.get(node.metadata?.attachmentName ?? '') : undefined;
  if (chart) {
    const { title = '', labels, dataSets } = chart;
    const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
    const names = dataSets.map(({ name }, i) => name ?? `${i + 1}`);
    const longest = Math.max(labels.length, ...dataSets.map(({ values }) => values.length));
    const lines = Array.from({ length: longest }, (_, i) =>
      row([labels[i] ?? '', ...dataSets.map(({ values }) => values[i] ?? '')]),
    );
    node.text = [title && `${title}\n`, row(['', ...names]), `|${' --- |'.repeat(names.length + 1)}`, ...lines]
      .filter((line) => line !== '')
      .join('\n');
  }
  for (const child of node.children ?? []) nameCharts(child, charts);
}

function slideText(slide: OfficeContentNode): string {
  const notes = (slide.notes ?? []).flatMap((note) => blocksOf(note.children ?? []));
  const comments = (slide.comments ?? []).flatMap((comment) => blocksOf(comment.children ?? []));
  return [
    ...blocksOf(slide.children ?? []),
    notes.length > 0 ? `Notes: ${notes.join('\n')}` : '',
    comments.length > 0 ? `Comments: ${comments.join('\n')}` : '',
  ]
    .filter((block) => block !== '')
    .join('\n\n');
}

function titled(text: string, given: string | undefined, pages: PageSpan[]): ExtractedDocument {
  const headings = markdownHeadings(text);
  const own = cleanText(given ?? '')
    .replace(/\s+/g, ' ')
    .trim();
  const title = own || headings.find(({ level }) => level === 1)?.title || null;
  return { text, title, pages, headings };
}
