/**
 * Workbooks through SheetJS: each sheet under its name, each row with the names of its columns, values as people see them
 * (dates and currencies formatted). Formulas are never evaluated; what they last gave stands in the file.
 */
import type { WorkBook, WorkSheet } from '@e965/xlsx';
import * as XLSX from '@e965/xlsx';
import type { ExtractedDocument, Heading } from '../../contracts/index.ts';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { ExtractContext, HeldExtractor } from '../extract-file.ts';
import { createMergedCells } from '../merged-cells.ts';
import { unpackOpenDocument } from '../odf-parts.ts';
import { unpackBinaryWorkbook, unpackOffice } from '../office-parts.ts';
import { createRowWriter } from '../table-rows.ts';
import { storedZip } from '../zip-write.ts';

export const extractXlsx: HeldExtractor = async ({ path }, context) =>
  readWorkbook(storedZip(await unpackOffice(path)), context);

export const extractXlsb: HeldExtractor = async ({ path }, context) =>
  readWorkbook(storedZip(await unpackBinaryWorkbook(path)), context);

export const extractOds: HeldExtractor = async ({ path }, context) =>
  readWorkbook(storedZip(await unpackOpenDocument(path)), context);

export const extractXls: HeldExtractor = async ({ path }, context) =>
  readWorkbook(Buffer.from(await Bun.file(path).bytes()), context);

function readWorkbook(bytes: Buffer, { heldChars }: ExtractContext): ExtractedDocument {
  const workbook = open(bytes);
  const pieces: string[] = [];
  const headings: Heading[] = [];
  let offset = 0;
  for (const [i, name] of workbook.SheetNames.entries()) {
    const sheet = workbook.Sheets[name];
    const body = sheet ? cleanText(rowsOf(sheet)).trim() : '';
    if (body === '') continue;
    // Binary workbooks of the first beta say it otherwise, and it comes out as noise.
    const title = /[\0-\x08]/.test(name) ? `Sheet ${i + 1}` : cleanText(name).replace(/\s+/g, ' ').trim();
    if (offset > 0) offset += 2;
    headings.push({ level: 2, title, start: offset, end: offset + 3 + title.length });
    const piece = `## ${title}\n\n${body}`;
    offset += piece.length;
    if (offset > heldChars) {
      throw new ExtractError(
        'too_large',
        `The workbook has more than the ${heldChars.toLocaleString('en')} characters of text allowed.`,
      );
    }
    pieces.push(piece);
  }
  const title = cleanText(workbook.Props?.Title ?? '').trim() || null;
  return { text: pieces.join('\n\n'), title, pages: [], headings };
}

function open(bytes: Buffer): WorkBook {
  try {
    return XLSX.read(bytes, { type: 'buffer', dense: true, cellFormula: false, cellHTML: false, cellStyles: false });
  } catch (error) {
    if (error instanceof RangeError) throw error;
    if (error instanceof Error && /password|encrypt/i.test(error.message)) {
      throw new ExtractError('encrypted', 'The workbook is protected with a password.', error);
    }
    throw new ExtractError('corrupt', 'The workbook is damaged and cannot be read.', error);
  }
}

/** What people wrote to a cell stands behind the row. */
function rowsOf(sheet: WorkSheet): string {
  const lines: string[] = [];
  const writer = createRowWriter((line) => lines.push(line));
  const merged = createMergedCells(sheet['!merges'] ?? []);
  /** Names above the ones of the row that follows. */
  let above: readonly string[] | undefined;
  let begun = false;
  let last = -1;
  for (const [number, row] of (sheet['!data'] ?? []).entries()) {
    // Rows have holes, which `map` would leave.
    const own = Array.from(row ?? [], (cell) => (cell?.t === 'z' ? '' : shown(cell)));
    if (own.every((cell) => cell === '')) continue;
    if (last >= 0 && number > last + 1) {
      if (above) writer.add(above);
      writer.end();
      above = undefined;
      begun = false;
    }
    last = number;
    const { cells, groups } = merged.row(number, own);
    if (!begun && !above && groups) above = groups;
    else {
      writer.add(above ? joinNames(above, cells) : cells);
      // A title may stand above the names.
      begun ||= above !== undefined || own.filter((cell) => cell !== '').length > 1;
      above = undefined;
    }
    for (const cell of row ?? []) {
      const notes = (cell?.c ?? []).map(({ t }) => (t ?? '').replace(/\s+/g, ' ').trim()).filter((note) => note !== '');
      for (const note of notes) lines.push(`[Comment: ${note}]\n`);
    }
  }
  if (above) writer.add(above);
  writer.end();
  return lines.join('');
}

/** Names of two rows, one of which groups those of the other: `2026` over `Q1` and `Q2`. */
function joinNames(groups: readonly string[], names: readonly string[]): string[] {
  return Array.from({ length: Math.max(groups.length, names.length) }, (_, i) =>
    [...new Set([groups[i] ?? '', names[i] ?? ''])].filter((name) => name !== '').join(' '),
  );
}

function shown(cell: XLSX.CellObject | undefined): string {
  if (!cell) return '';
  if (cell.t === 'd' && cell.v instanceof Date) return cell.v.toISOString().slice(0, 10);
  return String(cell.w ?? cell.v ?? '');
}
