/** What the command prints, and what it compares with a stored baseline. */
import { readFile, writeFile } from 'node:fs/promises';
import { interval, MEASURES, type Measures, summarise } from './metrics.ts';
import { UsageError } from './sets.ts';

export interface Run {
  readonly set: string;
  readonly mode: string;
  /** `builtin`, or the model that embedded; `reference` for the yardstick. */
  readonly provider: string;
  readonly measured: readonly Measures[];
  /** Milliseconds of each question. */
  readonly took: readonly number[];
}

export interface Line extends Measures {
  readonly set: string;
  readonly mode: string;
  readonly provider: string;
  readonly queries: number;
}

const rounded = (value: number): number => Math.round(value * 10_000) / 10_000;

/** One run in the form of `--json` and of the baseline. */
export function lineOf({ set, mode, provider, measured }: Run): Line {
  const { ndcg10, recall100, mrr10, hit1 } = summarise(measured);
  return {
    set,
    mode,
    provider,
    queries: measured.length,
    ndcg10: rounded(ndcg10),
    recall100: rounded(recall100),
    mrr10: rounded(mrr10),
    hit1: rounded(hit1),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** A table for people: means, the 95 % interval of nDCG@10 and MRR@10, and the median time of a question. */
export function tableOf(runs: readonly Run[]): string {
  const rows = runs.map((run) => {
    const line = lineOf(run);
    const range = (name: 'ndcg10' | 'mrr10') => {
      const { low, high } = interval(run.measured.map((one) => one[name]));
      return `${line[name].toFixed(4)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
    };
    return [
      line.set,
      line.mode,
      line.provider,
      String(line.queries),
      range('ndcg10'),
      line.recall100.toFixed(4),
      range('mrr10'),
      line.hit1.toFixed(4),
      run.mode === 'bm25' ? '–' : median(run.took).toFixed(1),
    ];
  });
  const head = ['set', 'mode', 'provider', 'queries', 'nDCG@10 [95 %]', 'Recall@100', 'MRR@10 [95 %]', 'Hit@1', 'ms'];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const print = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return [head, widths.map((width) => '─'.repeat(width)), ...rows].map(print).join('\n');
}

export interface Regression {
  readonly line: Line;
  readonly measure: keyof Measures;
  readonly before: number;
}

const keyOf = ({ set, mode, provider }: Pick<Line, 'set' | 'mode' | 'provider'>): string =>
  `${set} ${mode} ${provider}`;

function isLine(value: unknown): value is Line {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Readonly<Record<string, unknown>>;
  return (
    (['set', 'mode', 'provider'] as const).every((name) => typeof fields[name] === 'string') &&
    (['queries', ...MEASURES] as const).every((name) => typeof fields[name] === 'number')
  );
}

/** Throws `UsageError` for a file that is none. */
export async function readBaseline(path: string): Promise<Line[]> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (Array.isArray(value) && value.every(isLine)) return value;
  } catch (error) {
    throw new UsageError(`the baseline ${path} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  throw new UsageError(`the baseline ${path} is no list of measurements.`);
}

/** Puts the lines into the file, in the place of those with the same set, mode and provider. */
export async function writeBaseline(path: string, lines: readonly Line[]): Promise<void> {
  const before = await readBaseline(path).catch((error: unknown) => {
    if (error instanceof UsageError && /ENOENT/.test(error.message)) return [];
    throw error;
  });
  const merged = new Map([...before, ...lines].map((line) => [keyOf(line), line]));
  const sorted = [...merged].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line);
  await writeFile(path, `${JSON.stringify(sorted, null, 2)}\n`);
}

/** What is lower than in the baseline by more than `tolerance`. Throws `UsageError` where nothing can be compared. */
export function regressions(lines: readonly Line[], baseline: readonly Line[], tolerance: number): Regression[] {
  const before = new Map(baseline.map((line) => [keyOf(line), line]));
  const compared = lines.filter((line) => before.has(keyOf(line)));
  if (compared.length === 0) throw new UsageError('the baseline has none of these sets, modes and providers.');
  return compared.flatMap((line) =>
    MEASURES.flatMap((measure): Regression[] => {
      const was = before.get(keyOf(line))?.[measure] ?? 0;
      return line[measure] < was - tolerance ? [{ line, measure, before: was }] : [];
    }),
  );
}
