/**
 * `bun run eval --set DIR`: how well DreamHub finds what was asked for. Starts an installation, uploads the set's documents
 * through the real pipeline, asks its questions through the real search, and measures. Exits 0, 1 on a regression against a
 * baseline, 2 where the command or a set is wrong.
 */
import { parseArgs } from 'node:util';
import { startInstallation } from './eval/installation.ts';
import { lineOf, type Run, readBaseline, regressions, tableOf, writeBaseline } from './eval/report.ts';
import { MODES, type Mode, runSet } from './eval/run.ts';
import { type EvalSet, readSets, UsageError } from './eval/sets.ts';

const HELP = `bun run eval --set DIR [options]

  --set DIR          a set in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/test.tsv), or a folder of SQuAD files;
                     may be given more than once
  --mode MODES       of ${MODES.join(', ')}, comma-separated; all by default. bm25 is the reference, in memory
  --split NAME       which qrels file of a BEIR set; default test
  --limit N          only the first N questions of each set
  --json             one line of JSON for each set and mode on stdout; the table goes to stderr
  --baseline FILE    exit 1 where a measure is lower than there by more than the tolerance
  --tolerance X      default 0.005
  --write-baseline   write what was measured to FILE instead of comparing
  --data-dir DIR     keep the embedded installation and what was ingested there, for the next run
  --help

The environment says what is measured, as for the server: DATABASE_URL and REDIS_URL (else both are embedded), OPENAI_BASE_URL,
EMBEDDING_MODEL, RERANK_URL and so on. With a DATABASE_URL of yours, the tenant that was made stays there.
`;

interface Command {
  readonly sets: readonly string[];
  readonly modes: readonly Mode[];
  readonly split: string;
  readonly limit: number;
  readonly json: boolean;
  readonly baseline: string | undefined;
  readonly tolerance: number;
  readonly write: boolean;
  readonly dataDir: string | undefined;
}

/** `undefined` where help was asked for. Throws `UsageError`. */
function readCommand(args: readonly string[]): Command | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const modes = (values.mode ?? MODES.join(',')).split(',').map((name) => {
    const mode = MODES.find((known) => known === name.trim());
    if (!mode) throw new UsageError(`--mode ${name}: one of ${MODES.join(', ')} is needed.`);
    return mode;
  });
  const number = (name: string, value: string | undefined, fallback: number, least: number): number => {
    const parsed = value === undefined ? fallback : Number(value);
    if (!(parsed >= least)) throw new UsageError(`--${name} ${value}: a number from ${least} on is needed.`);
    return parsed;
  };
  if (!values.set?.length) throw new UsageError('--set DIR is needed; --help says more.');
  if (values['write-baseline'] && values.baseline === undefined) {
    throw new UsageError('--write-baseline needs --baseline FILE to write to.');
  }
  return {
    sets: values.set,
    modes: MODES.filter((mode) => modes.includes(mode)),
    split: values.split ?? 'test',
    limit: number('limit', values.limit, Number.POSITIVE_INFINITY, 1),
    json: values.json ?? false,
    baseline: values.baseline,
    tolerance: number('tolerance', values.tolerance, 0.005, 0),
    write: values['write-baseline'] ?? false,
    dataDir: values['data-dir'],
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        set: { type: 'string', multiple: true },
        mode: { type: 'string' },
        split: { type: 'string' },
        limit: { type: 'string' },
        json: { type: 'boolean' },
        baseline: { type: 'string' },
        tolerance: { type: 'string' },
        'write-baseline': { type: 'boolean' },
        'data-dir': { type: 'string' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

const say = (message: string): void => void process.stderr.write(`${message}\n`);

async function measureAll(command: Command, sets: readonly EvalSet[]): Promise<Run[]> {
  const { modes, dataDir } = command;
  const offline = modes.every((mode) => mode === 'bm25');
  const installation = offline ? undefined : await startInstallation(dataDir);
  const stop = () => void installation?.stop().finally(() => process.exit(130));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const runs: Run[] = [];
    for (const set of sets) {
      const limited = { ...set, queries: set.queries.slice(0, command.limit) };
      runs.push(...(await runSet(limited, { url: installation?.url ?? '', modes, keepIn: dataDir, say })));
    }
    return runs;
  } catch (error) {
    if (installation) say(installation.output());
    throw error;
  } finally {
    await installation?.stop();
  }
}

async function main(): Promise<number> {
  const command = readCommand(process.argv.slice(2));
  if (!command) {
    process.stdout.write(HELP);
    return 0;
  }
  const sets = (await Promise.all(command.sets.map((folder) => readSets(folder, command.split)))).flat();
  // Read before the work, so that a wrong path costs nothing.
  const baseline = command.baseline !== undefined && !command.write ? await readBaseline(command.baseline) : undefined;
  const runs = await measureAll(command, sets);
  const lines = runs.map(lineOf);
  const table = `${tableOf(runs)}\n`;
  if (command.json) {
    process.stderr.write(table);
    for (const line of lines) process.stdout.write(`${JSON.stringify(line)}\n`);
  } else process.stdout.write(table);
  if (command.write && command.baseline !== undefined) {
    await writeBaseline(command.baseline, lines);
    say(`written to ${command.baseline}`);
  }
  if (!baseline) return 0;
  const worse = regressions(lines, baseline, command.tolerance);
  for (const { line, measure, before } of worse) {
    say(`REGRESSION ${line.set} ${line.mode} (${line.provider}): ${measure} ${line[measure]} was ${before}`);
  }
  return worse.length > 0 ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof UsageError ? error.message : `eval failed: ${error instanceof Error ? error.stack : error}`);
  process.exitCode = 2;
}
