/** Rows as text: median, spread, and whether a target was met. */
import type { Row, Target, Unit } from './benchmark.ts';
import { median } from './rounds.ts';

const DIGITS: Readonly<Record<Unit, number>> = {
  ratio: 2,
  'requests/s': 0,
  'chunks/s': 0,
  'jobs/s': 0,
  bytes: 0,
  'tokens/s': 0,
  ms: 1,
  µs: 1,
  MB: 1,
  'MB/s': 1,
  KB: 2,
  'of them': 0,
};

function shown(value: number, unit: Unit): string {
  const digits = DIGITS[unit];
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function isMet(value: number, target: Target): boolean {
  return 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
}

function verdict({ values, target }: Row): string {
  if (!target) return '';
  const limit = 'atLeast' in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`;
  return `${isMet(median(values), target) ? 'met' : 'NOT MET'} (${limit})`;
}

/** Rows that missed their target; one without values missed it too. */
export function missed(rows: readonly Row[]): Row[] {
  return rows.filter(({ values, target }) => target !== undefined && !isMet(median(values), target));
}

export function table(rows: readonly Row[]): string {
  const cells = rows.map((row) => {
    const { label, unit, values } = row;
    const figures = [median(values), Math.min(...values), Math.max(...values)].map((value) => shown(value, unit));
    return [label, ...figures, unit, verdict(row)];
  });
  const lines = [['', 'median', 'min', 'max', '', ''], ...cells];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) => {
      const padded = line.map((cell, column) => {
        const width = widths[column] ?? 0;
        return column >= 1 && column <= 3 ? cell.padStart(width) : cell.padEnd(width);
      });
      return `  ${padded.join('  ')}`.trimEnd();
    })
    .join('\n');
}
