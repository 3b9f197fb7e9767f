/**
 * Rows of a table as text that can be understood one by one: each value behind the name of its column, so that a row
 * that is found says what its numbers are. The first row is the header unless it looks like data.
 */
const MAX_LABEL = 80;
const MAX_LABELLED_COLUMNS = 200;
const MAX_COLUMNS = 10_000;

export interface RowWriter {
  /** A row's cells as text; trailing and other empty ones are passed over. */
  add(cells: readonly string[]): void;
  /** A row without a cell: a new table may begin. */
  end(): void;
}

/** `write` is given whole lines. An empty row ends a table, the next one may have a header of its own. */
export function createRowWriter(write: (text: string) => void): RowWriter {
  /** `undefined` while a header is looked for; empty where the table has none. */
  let labels: readonly string[] | undefined;
  let first: readonly string[] | undefined;
  let wrote = false;

  function line(text: string): void {
    write(`${text}\n`);
    wrote = true;
  }

  function decide(next: readonly string[] | undefined): void {
    if (!first) return;
    labels = next && isHeader(first, next) ? first.map((cell) => cell.slice(0, MAX_LABEL)) : [];
    line(plain(first));
    first = undefined;
  }

  function end(): void {
    decide(undefined);
    if (wrote) write('\n');
    wrote = false;
    labels = undefined;
  }

  return {
    add(raw) {
      const cells = raw.slice(0, MAX_COLUMNS).map(tidy);
      const filled = cells.filter((cell) => cell !== '').length;
      if (filled === 0) return end();
      if (first) {
        // A line above the table's own header: its title, or a note.
        const alone = first.filter((cell) => cell !== '').length === 1;
        if (alone && filled > 1) {
          line(plain(first));
          first = cells;
          return;
        }
        decide(cells);
      } else if (labels === undefined) {
        first = cells;
        return;
      }
      line(labelled(cells, labels ?? []));
    },
    end,
  };
}

/** On a line; most cells are. */
const tidy = (cell: string) => (/[^\S ]| {2}/.test(cell) ? cell.replace(/\s+/g, ' ') : cell).trim();

const plain = (cells: readonly string[]) => cells.filter((cell) => cell !== '').join(' | ');

function labelled(cells: readonly string[], labels: readonly string[]): string {
  return cells
    .flatMap((cell, i) => {
      if (cell === '') return [];
      const label = i < MAX_LABELLED_COLUMNS ? labels[i] : undefined;
      return label ? [`${label}: ${cell}`] : [cell];
    })
    .join(' | ');
}

const isNumber = (cell: string) => /^[-+(]?[\p{Sc}]?\s?\d[\d\s.,:/%-]*\)?(?:e[-+]?\d+)?[%\p{Sc}]?$/iu.test(cell);

/** Two or more of them name columns, where none stands below. */
const isYear = (cell: string) => /^(?:19|20)\d\d$/.test(cell);

/**
 * Short, different names, none of them a number but for years. Names may come twice where a number stands below a name,
 * which shows as well what is which. One column needs a reason to believe it: numbers below.
 */
function isHeader(first: readonly string[], next: readonly string[]): boolean {
  const names = first.filter((cell) => cell !== '');
  if (names.length < 2) return names.length === 1 && !isNumber(names[0] ?? '') && isNumber(next.find(Boolean) ?? '');
  if (names.some((name) => name.length > MAX_LABEL)) return false;
  const numbers = first.flatMap((cell, i) => (isNumber(cell) ? [isYear(cell) && !isYear(next[i] ?? '')] : []));
  if (numbers.length > 0 && (numbers.length < 2 || numbers.length === names.length || numbers.includes(false)))
    return false;
  if (names.length * 2 <= next.filter((cell) => cell !== '').length) return false;
  const isDifferent = new Set(names).size === names.length;
  return isDifferent || first.some((cell, i) => cell !== '' && !isNumber(cell) && isNumber(next[i] ?? ''));
}
