/**
 * `bun test/bench/run.ts [--rounds=N] [--strict] [--quick] [NAME…]`: runs all benchmarks or those named (`hub` names all that begin
 * with `hub-`), and prints what each measured. Exits 0 whatever the figures are, because a busy machine is no failure; with `--strict` exits 1 when a target
 * was missed. A benchmark that broke off always makes it 1.
 */
import { availableParallelism, cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { messageOf } from '../../src/kernel/errors.ts';
import type { Benchmark } from './support/benchmark.ts';
import { missed, table } from './support/report.ts';

const FOLDER = fileURLToPath(new URL('./', import.meta.url));
const ROUNDS = 5;

async function findBenchmarks(): Promise<Benchmark[]> {
  const paths = await Array.fromAsync(new Bun.Glob('*.bench.ts').scan(FOLDER));
  const modules = await Promise.all(
    paths.sort().map((path) => import(`${FOLDER}${path}`) as Promise<{ benchmark: Benchmark }>),
  );
  return modules.map(({ benchmark }) => benchmark);
}

function choose(all: readonly Benchmark[], names: readonly string[]): readonly Benchmark[] {
  const isCalled = (name: string, by: string) => name === by || name.startsWith(`${by}-`);
  const unknown = names.filter((by) => !all.some(({ name }) => isCalled(name, by)));
  if (unknown.length > 0)
    throw new Error(
      `No benchmark is called ${unknown.join(', ')}: there are ${all.map(({ name }) => name).join(', ')}.`,
    );
  return names.length === 0 ? all : all.filter(({ name }) => names.some((by) => isCalled(name, by)));
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: String(ROUNDS) },
      strict: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error('--rounds takes a whole number from 1.');
  const chosen = choose(await findBenchmarks(), positionals);

  console.log(`${availableParallelism()} × ${cpus()[0]?.model.trim() ?? 'CPU'}, Bun ${Bun.version}, ${rounds} rounds`);
  let broken = 0;
  let misses = 0;
  for (const { name, about, run } of chosen) {
    const started = performance.now();
    try {
      const rows = await run({ rounds, quick: values.quick, progress: (line) => console.error(`  … ${line}`) });
      misses += missed(rows).length;
      console.log(`\n${name}: ${about}\n${table(rows)}`);
    } catch (error) {
      broken += 1;
      console.log(`\n${name} broke off: ${messageOf(error)}`);
      console.error(error);
    }
    console.error(`  … ${Math.round((performance.now() - started) / 1_000)} s`);
  }
  console.log(`\n${chosen.length} run, ${broken} broke off, ${misses} targets not met`);
  return broken > 0 || (values.strict && misses > 0) ? 1 : 0;
}

process.exit(
  await main().catch((error: unknown) => {
    console.error(messageOf(error));
    return 2;
  }),
);
