/** Tables of text with a delimiter between columns: each row with the names of its columns. */
import { parse } from 'csv-parse';
import { decodeFile } from '../decode-stream.ts';
import { ExtractError } from '../extract-error.ts';
import type { StreamedExtractor } from '../extract-file.ts';
import { createRowWriter } from '../table-rows.ts';

const DELIMITERS = [',', '\t', ';', '|'] as const;
/** Cleaning many at once is faster. */
const LINES_AT_ONCE = 500;
const MAX_RECORD_CHARS = 4 * 1024 * 1024;

export const extractCsv: StreamedExtractor = async ({ path }, output) => {
  const pieces = decodeFile(path);
  const first = await firstOf(pieces);
  // A word to Excel, which is no row.
  const [named = '', said] = /^sep=([,;|\t])\r?\n/i.exec(first) ?? [];
  const head = first.slice(named.length);
  const parser = parse({
    delimiter: said ?? delimiterOf(head),
    relax_quotes: true,
    relax_column_count: true,
    skip_empty_lines: false,
    max_record_size: MAX_RECORD_CHARS,
    // Rows as they come, with the gaps that separate one table from the next.
    raw: false,
  });
  let lines: string[] = [];
  const rows = createRowWriter((line) => {
    if (lines.push(line) === LINES_AT_ONCE) flush();
  });
  const flush = () => {
    output.write(lines.join(''));
    lines = [];
  };
  parser.on('readable', () => {
    for (let row: string[] | null = parser.read(); row; row = parser.read()) rows.add(row);
  });
  const ended = Promise.withResolvers<void>();
  parser.on('end', ended.resolve);
  parser.on('error', (error) => ended.reject(readableError(error)));
  // Handled below; a rejection before that is no unhandled one.
  ended.promise.catch(() => {});
  const feed = async (piece: string) => {
    if (piece === '' || parser.write(piece)) return;
    await Promise.race([new Promise<void>((resolve) => parser.once('drain', () => resolve())), ended.promise]);
  };
  await feed(head);
  for await (const piece of pieces) await feed(piece);
  parser.end();
  await ended.promise;
  rows.end();
  flush();
  return { title: null, pages: [], headings: [] };
};

async function firstOf(pieces: AsyncGenerator<string>): Promise<string> {
  const first = await pieces.next();
  return first.done ? '' : first.value;
}

/** The delimiter that cuts the first lines into the same number of columns, and into the most. */
function delimiterOf(head: string): string {
  const lines = withoutQuoted(head.slice(0, 64 * 1024))
    .split(/\r\n?|\n/)
    .filter((line) => line.trim() !== '')
    .slice(0, 20);
  const scored = DELIMITERS.map((delimiter) => {
    const counts = lines.map((line) => line.split(delimiter).length - 1);
    const first = counts[0] ?? 0;
    const same = counts.filter((count) => count === first).length;
    return { delimiter, score: first === 0 ? 0 : (same / Math.max(1, lines.length)) * 10 + Math.min(first, 9) / 10 };
  });
  return scored.reduce((a, b) => (b.score > a.score ? b : a)).delimiter;
}

const withoutQuoted = (text: string) => text.replace(/"[^"]*"/g, '');

function readableError(error: unknown): unknown {
  if (error instanceof RangeError || error instanceof ExtractError) return error;
  const long = error instanceof Error && 'code' in error && error.code === 'CSV_MAX_RECORD_SIZE';
  return long
    ? new ExtractError(
        'limits_exceeded',
        'A row of the table is too long to be read; perhaps a quotation mark is missing.',
        error,
      )
    : new ExtractError('corrupt', 'The table cannot be read: its rows or quotation marks are broken.', error);
}
