/**
 * `bun test/support/run.ts [PATTERN…]`: runs the tests, group after group, each test file in a process of its own and in
 * random order, and closes with one line for the whole run: `N passed, N failed, N skipped`. Exits 1 when a test failed,
 * when a run broke off, or when nothing was run. `SEED=n` repeats an order.
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
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const HOUR_MS = 3_600_000;

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

async function tee(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of stream) {
    process.stderr.write(bytes);
    // The summary is at the end, and a run may print a lot.
    text = (text + decoder.decode(bytes, { stream: true })).slice(-20_000);
  }
  return text;
}

async function hasTests(paths: readonly string[]): Promise<boolean> {
  for (const path of paths) {
    for await (const _ of new Bun.Glob(`${path}**/*.test.{ts,tsx}`).scan(ROOT)) return true;
  }
  return false;
}

async function runGroup({ name, paths, parallel }: Group, seed: number): Promise<Totals> {
  process.stderr.write(`\n== ${name} (seed ${seed}, ${parallel} at once)\n`);
  const command = [process.execPath, 'test', `--parallel=${parallel}`, '--randomize', `--seed=${seed}`, ...paths];
  // The summary is read from the output, so it must come without colours.
  const env = { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' };
  const child = Bun.spawn(command, { cwd: ROOT, env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
  const [output, errors] = await Promise.all([tee(child.stdout), tee(child.stderr)]);
  const code = await child.exited;
  const summary = `${output}\n${errors}`;
  const totals = {
    passed: countOf(summary, 'pass'),
    failed: countOf(summary, 'fail'),
    skipped: countOf(summary, 'skip') + countOf(summary, 'todo'),
  };
  // A run that broke off has no summary, or one without the test that broke it.
  if (code !== 0 && totals.failed === 0) totals.failed = 1;
  return totals;
}

async function main(patterns: string[]): Promise<void> {
  const seed = Number(process.env['SEED'] ?? Math.trunc(Math.random() * 2 ** 31));
  const groups = patterns.length > 0 ? [{ name: 'chosen', paths: patterns, parallel: workers }] : GROUPS;
  await dropStaleTestDatabases(HOUR_MS);
  const sum: Totals = { passed: 0, failed: 0, skipped: 0 };
  for (const group of groups) {
    if (patterns.length === 0 && !(await hasTests(group.paths))) continue;
    const totals = await runGroup(group, seed);
    sum.passed += totals.passed;
    sum.failed += totals.failed;
    sum.skipped += totals.skipped;
  }
  if (sum.failed > 0) process.stderr.write(`\nrepeat this order with SEED=${seed}\n`);
  process.stderr.write('\n');
  process.stdout.write(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped\n`);
  process.exit(sum.failed > 0 || sum.passed === 0 ? 1 : 0);
}

if (import.meta.main) await main(process.argv.slice(2));
