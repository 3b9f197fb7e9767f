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
  const delimiter = said ?? delimiterOf(head);
  let lines: string[] = [];
  const flush = () => {
    output.write(lines.join(''));
    lines = [];
  };
  const rows = createRowWriter((line) => {
    if (lines.push(line) === LINES_AT_ONCE) flush();
  });
  let read = 0;
  const take = (row: string[]) => {
    read += 1;
    rows.add(row);
  };
  try {
    await parseRows(joined(head, pieces), { delimiter, quote: '"' }, take);
  } catch (error) {
    if (!(error instanceof Unclosed)) throw error;
    // What a quotation mark that is never closed begins is read as it stands; rows before it that got lost are read again.
    let again = 0;
    let begun: string[] = [];
    await parseRows(section(path, named.length, 0, error.at), { delimiter, quote: '"' }, (row) => {
      const number = again++;
      if (number >= error.rows) begun = row;
      else if (number >= read) rows.add(row);
    });
    await parseRows(section(path, named.length, error.at, Infinity), { delimiter, quote: false }, (row) => {
      // It goes on with the delimiter behind what its row has so far.
      rows.add(begun.length > 0 ? [...begun, ...row.slice(1)] : row);
      begun = [];
    });
  }
  rows.end();
  flush();
  return { title: null, pages: [], headings: [] };
};

/** A quotation mark is open at the end of a table. */
class Unclosed extends Error {
  constructor(
    /** Rows that are whole. */
    readonly rows: number,
    /** Where the last whole cell ends, in bytes of UTF-8. */
    readonly at: number,
    options: ErrorOptions,
  ) {
    super('A quotation mark is never closed.', options);
  }
}

async function parseRows(
  pieces: AsyncIterable<string | Uint8Array>,
  how: { delimiter: string; quote: '"' | false },
  take: (row: string[]) => void,
): Promise<void> {
  const parser = parse({
    ...how,
    relax_quotes: true,
    relax_column_count: true,
    skip_empty_lines: false,
    max_record_size: MAX_RECORD_CHARS,
    // Rows as they come, with the gaps that separate one table from the next.
    raw: false,
  });
  parser.on('readable', () => {
    try {
      for (let row: string[] | null = parser.read(); row; row = parser.read()) take(row);
    } catch (error) {
      // Thrown from here, it would end the process: nobody called us.
      parser.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  });
  const ended = Promise.withResolvers<void>();
  parser.on('end', ended.resolve);
  parser.on('error', (error) => {
    const isUnclosed = 'code' in error && error.code === 'CSV_QUOTE_NOT_CLOSED';
    ended.reject(
      isUnclosed ? new Unclosed(parser.info.records, parser.info.bytes, { cause: error }) : readableError(error),
    );
  });
  // Handled below; a rejection before that is no unhandled one.
  ended.promise.catch(() => {});
  for await (const piece of pieces) {
    if (piece.length === 0 || parser.write(piece)) continue;
    await Promise.race([new Promise<void>((resolve) => parser.once('drain', () => resolve())), ended.promise]);
  }
  parser.end();
  await ended.promise;
}

async function* joined(head: string, pieces: AsyncIterable<string>): AsyncGenerator<string> {
  yield head;
  yield* pieces;
}

/** A part of a file's text without its first `skipped` characters, counted in bytes of UTF-8. */
async function* section(path: string, skipped: number, from: number, to: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  let left = skipped;
  for await (const piece of decodeFile(path)) {
    const bytes = Buffer.from(piece.slice(left));
    left = Math.max(0, left - piece.length);
    yield bytes.subarray(Math.max(0, from - at), Math.max(0, to - at));
    at += bytes.length;
    if (at >= to) return;
  }
}

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
