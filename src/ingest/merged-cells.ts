/**
 * Merged cells of a sheet: the value stands in the first of them alone. A row below is given it again, so that it says by
 * itself what it is about; a row of names that are merged over several columns groups the names of the next row.
 */
interface Range {
  s: { r: number; c: number };
  e: { r: number; c: number };
}

export interface MergedCells {
  /** Rows in their order. `groups` are its cells with each name in all of its columns, where it stands over several. */
  row(number: number, own: readonly string[]): { cells: string[]; groups?: string[] };
}

/** Of a sheet, and at once; what claims more is looked at no further. */
const MAX_RANGES = 10_000;
const MAX_OPEN = 200;
const MAX_COLUMNS = 200;
/** A value that is said again is a name, not a text. */
const MAX_REPEATED_CHARS = 80;

export function createMergedCells(ranges: readonly Range[]): MergedCells {
  const waiting = ranges.slice(0, MAX_RANGES).toSorted((a, b) => a.s.r - b.s.r);
  let next = 0;
  let open: { range: Range; text: string }[] = [];

  return {
    row(number, own) {
      const cells = [...own];
      open = open.filter(({ range }) => range.e.r >= number);
      for (const { range, text } of open) put(cells, range.s.c, text);
      const groups = [...cells];
      let grouping = false;
      for (let range = waiting[next]; range && range.s.r <= number; range = waiting[++next]) {
        const text = range.s.r === number ? (own[range.s.c] ?? '') : '';
        if (text === '' || text.length > MAX_REPEATED_CHARS) continue;
        if (range.e.r > number) {
          if (open.length < MAX_OPEN) open.push({ range, text });
          continue;
        }
        const end = Math.min(range.e.c, range.s.c + MAX_COLUMNS);
        for (let column = range.s.c + 1; column <= end; column++) put(groups, column, text);
        grouping ||= end > range.s.c;
      }
      // A title over the whole width groups nothing.
      return grouping && own.filter((cell) => cell !== '').length > 1 ? { cells, groups } : { cells };
    },
  };
}

function put(cells: string[], column: number, text: string): void {
  while (cells.length < column) cells.push('');
  cells[column] ||= text;
}
