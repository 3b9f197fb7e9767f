/** What a benchmark is: a name, a sentence, and a run that ends in rows. `run.ts` finds, runs and prints them. */

export type Unit =
  | 'ratio'
  | 'requests/s'
  | 'chunks/s'
  | 'jobs/s'
  | 'bytes'
  | 'tokens/s'
  | 'ms'
  | 'µs'
  | 'MB'
  | 'MB/s'
  | 'KB'
  | 'of them';

/** Judged by the median. */
export type Target = { readonly atLeast: number } | { readonly atMost: number };

export interface Row {
  readonly label: string;
  readonly unit: Unit;
  /** One value a round, in the order of the rounds. */
  readonly values: readonly number[];
  readonly target?: Target;
}

export interface BenchmarkOptions {
  /** How often each side is measured, interleaved with the others. */
  rounds: number;
  /** Smaller sizes where a benchmark has some that take minutes to make. */
  quick: boolean;
  /** Shown while it runs; not part of the result. */
  progress(line: string): void;
}

export interface Benchmark {
  readonly name: string;
  /** What stands beside what, in one sentence. */
  readonly about: string;
  run(options: BenchmarkOptions): Promise<Row[]>;
}
