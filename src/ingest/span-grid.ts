/**
 * Cells that span several columns or rows, row by row as cells of one column each, so that values stay below the names of
 * their columns and each row says by itself what it is about.
 */
export interface SpanningCell {
  text: string;
  /** As the document says, 1 for none; bounded here. */
  columns: number;
  rows: number;
}

export interface SpanGrid {
  /** A row's own cells → its cells in all columns. A header's name stands in each column that it spans. */
  row(cells: readonly SpanningCell[], isHeader: boolean): string[];
}

/** What a document may claim; more columns than this are no table that anybody reads. */
const MAX_COLUMNS = 200;
/** A value that is said again in the next row or column is a name or a number, not a text. */
const MAX_REPEATED_CHARS = 80;
/** What may be said again in a table, in all: a small one can claim to span a million cells. */
const MAX_TABLE_REPEATED_CHARS = 1_000_000;

export function createSpanGrid(): SpanGrid {
  /** Columns that a cell further up reaches into, and for how many rows more. */
  const held = new Map<number, { text: string; left: number }>();
  let repeated = 0;

  function again(text: string): string {
    repeated += text.length;
    return text.length > MAX_REPEATED_CHARS || repeated > MAX_TABLE_REPEATED_CHARS ? '' : text;
  }

  return {
    row(cells, isHeader) {
      const out: string[] = [];
      /** Columns that earlier rows have taken, up to the next one that is free. */
      const fill = () => {
        for (let above = held.get(out.length); above; above = held.get(out.length)) {
          if (above.left === 1) held.delete(out.length);
          else above.left -= 1;
          out.push(again(above.text));
        }
      };
      const alone = cells.length === 1 && held.size === 0;
      for (const { text, columns, rows } of cells) {
        fill();
        const width = Math.max(1, Math.min(columns, MAX_COLUMNS - out.length));
        for (let i = 0; i < width; i++) {
          const shown = i === 0 ? text : isHeader && !alone ? again(text) : '';
          if (rows > 1) held.set(out.length, { text: shown, left: rows - 1 });
          out.push(shown);
        }
      }
      fill();
      return out;
    },
  };
}
