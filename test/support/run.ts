/**
 * `bun test/support/run.ts [PATTERN…]`: runs the tests, group after group, each test file in a process of its own and in
 * random order, and closes with one line for the whole run: `N passed, N failed, N skipped`. Exits 1 when a test failed,
 * when a run broke off, or when nothing was run. `SEED=n` repeats an order.
 *
 * Before the last line stands what failed, by name. The files of up to `MAX_SUSPECTS` failures are then run once more,
 * alone: what passes there was the machine's or is a race, counts as passed, and is named as unsteady; it is to be mended.
 */
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { dropStaleTestDatabases } from './services.ts';

interface Group {
  name: string;
  /** Folders and files, relative to the root. */
  paths: string[];
  /** Test processes at once. */
  parallel: number;
}

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
  /** What failed, `file > test`; without the runs that broke off. */
  failures: readonly Failure[];
}

interface Failure {
  file: string;
  test: string;
}

/** Where `test/` is; the runner's own tests name another tree. */
const ROOT = process.env['TEST_ROOT'] ?? fileURLToPath(new URL('../../', import.meta.url));
const HOUR_MS = 3_600_000;
/** More failures than these are no accident. */
const MAX_SUSPECTS = 3;

const workers = Math.max(2, Math.min(4, availableParallelism()));
const GROUPS: readonly Group[] = [
  { name: 'unit', paths: ['test/unit/', 'test/contract/'], parallel: workers },
  { name: 'integration', paths: ['test/integration/'], parallel: workers },
  // Whole installations, and what they measure should not be each other.
  { name: 'e2e', paths: ['test/e2e/'], parallel: 1 },
  { name: 'chaos', paths: ['test/chaos/'], parallel: 1 },
];

/** The count in bun's closing summary, which has a line ` N name` for each that is not 0. */
function countOf(output: string, name: string): number {
  const counts = [...output.matchAll(new RegExp(`^ *(\\d+) ${name}$`, 'gm'))];
  return Number(counts.at(-1)?.[1] ?? 0);
}

/** Passes a run's output on, and keeps its end, where the summary is, and the failures named on the way. */
async function tee(stream: ReadableStream<Uint8Array>): Promise<{ end: string; failures: Failure[] }> {
  const decoder = new TextDecoder();
  const failures: Failure[] = [];
  let [end, rest, file] = ['', '', ''];
  let isRepeated = false;
  for await (const bytes of stream) {
    process.stderr.write(bytes);
    const text = decoder.decode(bytes, { stream: true });
    end = (end + text).slice(-20_000);
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      file = /^(test\/\S+\.test\.tsx?):$/.exec(line)?.[1] ?? file;
      const test = /^\(fail\) (.+?)(?: \[[\d.]+ms\])?$/.exec(line)?.[1];
      // The closing list repeats them, without their files.
      if (/^\d+ tests? failed:$/.test(line)) isRepeated = true;
      if (test !== undefined && !isRepeated) failures.push({ file, test });
    }
  }
  return { end, failures };
}

async function hasTests(paths: readonly string[]): Promise<boolean> {
  for (const path of paths) {
    for await (const _ of new Bun.Glob(`${path}**/*.test.{ts,tsx}`).scan(ROOT)) return true;
  }
  return false;
}

async function runTests(paths: readonly string[], parallel: number, seed: number): Promise<Totals> {
  const command = [process.execPath, 'test', `--parallel=${parallel}`, '--randomize', `--seed=${seed}`, ...paths];
  // The summary is read from the output, so it must come without colours.
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' };
  const child = Bun.spawn(command, { cwd: ROOT, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
  const [output, errors] = await Promise.all([tee(child.stdout), tee(child.stderr)]);
  const code = await child.exited;
  const summary = `${output.end}\n${errors.end}`;
  const totals = {
    passed: countOf(summary, 'pass'),
    failed: countOf(summary, 'fail'),
    skipped: countOf(summary, 'skip') + countOf(summary, 'todo'),
    failures: [...output.failures, ...errors.failures],
  };
  // A run that broke off has no summary, or one without the test that broke it.
  if (code !== 0 && totals.failed === 0) totals.failed = 1;
  return totals;
}

async function runGroup({ name, paths, parallel }: Group, seed: number): Promise<Totals> {
  process.stderr.write(`\n== ${name} (seed ${seed}, ${parallel} at once)\n`);
  return await runTests(paths, parallel, seed);
}

/** Runs the files of a few failures once more, alone, and takes back those that pass then. */
async function judgeFailures(sum: Totals, seed: number): Promise<Totals> {
  if (sum.failures.length === 0) return sum;
  process.stderr.write(`\n${sum.failures.map(({ file, test }) => `failed: ${file} > ${test}`).join('\n')}\n`);
  if (sum.failed > sum.failures.length || sum.failures.length > MAX_SUSPECTS) return sum;
  const files = [...new Set(sum.failures.map(({ file }) => file))];
  process.stderr.write(`\n== once more, alone: ${files.join(' ')}\n`);
  const again = await runTests(files, 1, seed);
  if (again.failed > 0) return sum;
  process.stderr.write(`\n${sum.failures.map(({ file, test }) => `unsteady: ${file} > ${test}`).join('\n')}\n`);
  return { ...sum, passed: sum.passed + sum.failed, failed: 0, failures: [] };
}

async function main(patterns: string[]): Promise<void> {
  const seed = Number(process.env['SEED'] ?? Math.trunc(Math.random() * 2 ** 31));
  const groups = patterns.length > 0 ? [{ name: 'chosen', paths: patterns, parallel: workers }] : GROUPS;
  await dropStaleTestDatabases(HOUR_MS);
  let sum: Totals = { passed: 0, failed: 0, skipped: 0, failures: [] };
  for (const group of groups) {
    if (patterns.length === 0 && !(await hasTests(group.paths))) continue;
    const totals = await runGroup(group, seed);
    sum = {
      passed: sum.passed + totals.passed,
      failed: sum.failed + totals.failed,
      skipped: sum.skipped + totals.skipped,
      failures: [...sum.failures, ...totals.failures],
    };
  }
  sum = await judgeFailures(sum, seed);
  if (sum.failed > 0) process.stderr.write(`\nrepeat this order with SEED=${seed}\n`);
  process.stderr.write('\n');
  process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
  process.exit(sum.failed > 0 || sum.passed === 0 ? 1 : 0);
}

if (import.meta.main) await main(process.argv.slice(2));
