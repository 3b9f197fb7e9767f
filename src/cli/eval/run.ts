/** One set from its files to its measurements: through uploads and the pipeline, and asked through the search. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SearchMode } from '../../contracts/index.ts';
import { type Measures, measure } from './metrics.ts';
import { createPerson, type Login, type Person } from './person.ts';
import { createReference } from './reference.ts';
import type { Run } from './report.ts';
import type { EvalSet } from './sets.ts';

export const MODES = ['bm25', 'text', 'vector', 'hybrid', 'rerank'] as const;
export type Mode = (typeof MODES)[number];

export interface RunOptions {
  readonly url: string;
  readonly modes: readonly Mode[];
  /** Where what was ingested is remembered, so that a later run need not do it again. */
  readonly keepIn: string | undefined;
  say(message: string): void;
}

/** Requests at once: enough to keep two cores busy. */
const UPLOADS = 16;
const SEARCHES = 4;
const POLL_MS = 500;
const TOP = 100;

/** Runs `work` over the items, `width` at a time, in order of the items. */
async function inParallel<T, R>(all: readonly T[], width: number, work: (one: T, index: number) => Promise<R>) {
  const results: R[] = [];
  let next = 0;
  const lane = async () => {
    while (next < all.length) {
      const index = next;
      next += 1;
      results[index] = await work(all[index] as T, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, all.length) }, lane));
  return results;
}

interface Ingested {
  readonly login: Login;
  /** DreamHub's document id → the set's. */
  readonly ids: Readonly<Record<string, string>>;
}

async function ingest(set: EvalSet, person: Person, say: RunOptions['say']): Promise<Ingested> {
  const started = performance.now();
  const documents = set.documents.filter(({ title, text }) => `${title}${text}`.trim() !== '');
  if (documents.length < set.documents.length) {
    say(`${set.documents.length - documents.length} documents without any text are left out`);
  }
  const uploaded = await inParallel(documents, UPLOADS, async (document, index) => {
    if (index > 0 && index % 1_000 === 0) say(`${index} of ${documents.length} uploaded`);
    return [await person.upload(document, index), document.id] as const;
  });
  const ids = Object.fromEntries(uploaded);
  for (;;) {
    const { waiting, failed } = await person.progress();
    if (!waiting) {
      for (const { document, message } of failed.slice(0, 5))
        say(`not indexed: ${ids[document] ?? document}: ${message}`);
      if (failed.length >= documents.length) throw new Error('no document could be indexed');
      break;
    }
    await Bun.sleep(POLL_MS);
  }
  const seconds = (performance.now() - started) / 1_000;
  say(`${documents.length} documents in ${seconds.toFixed(1)} s (${(documents.length / seconds).toFixed(0)}/s)`);
  return { login: person.login, ids };
}

async function prepare(
  set: EvalSet,
  { url, keepIn, say }: RunOptions,
): Promise<{ person: Person; ingested: Ingested }> {
  const kept = keepIn === undefined ? undefined : join(keepIn, `eval-${set.name}.json`);
  if (kept !== undefined && existsSync(kept)) {
    const ingested = JSON.parse(await readFile(kept, 'utf8')) as Ingested;
    say(`${Object.keys(ingested.ids).length} documents are there already`);
    return { person: await createPerson(url, ingested.login), ingested };
  }
  const person = await createPerson(url);
  const ingested = await ingest(set, person, say);
  if (kept !== undefined && keepIn !== undefined) {
    await mkdir(keepIn, { recursive: true });
    await writeFile(kept, JSON.stringify(ingested));
  }
  return { person, ingested };
}

const requestOf = (mode: Exclude<Mode, 'bm25'>): { mode: SearchMode; rerank: boolean } =>
  mode === 'rerank' ? { mode: 'hybrid', rerank: true } : { mode, rerank: false };

/** Measures a set in each mode, in the order of the modes. */
export async function runSet(set: EvalSet, options: RunOptions): Promise<Run[]> {
  const { modes } = options;
  const say = (message: string) => options.say(`${set.name}: ${message}`);
  for (const note of set.notes) say(note);
  // The questions of some sets are documents themselves: to be found by oneself is no merit.
  const rank = (query: string, documents: readonly string[]) => documents.filter((id) => id !== query).slice(0, TOP);
  const runs: Run[] = [];
  if (modes.includes('bm25')) {
    const reference = createReference(set.documents);
    const measured = set.queries.map(({ id, text, relevant }) =>
      measure(rank(id, reference.search(text, TOP + 1)), relevant),
    );
    runs.push({ set: set.name, mode: 'bm25', provider: 'reference', measured, took: [] });
  }
  const asked = modes.filter((mode) => mode !== 'bm25');
  if (asked.length === 0) return runs;
  const { person, ingested } = await prepare(set, { ...options, say });
  for (const mode of asked) {
    const answers = await inParallel(set.queries, SEARCHES, async ({ id, text, relevant }) => {
      const { documents, took } = await person.search({ query: text, ...requestOf(mode) });
      const known = documents.flatMap((document) => ingested.ids[document] ?? []);
      return { measures: measure(rank(id, known), relevant) satisfies Measures, took };
    });
    runs.push({
      set: set.name,
      mode,
      provider: await person.provider(),
      measured: answers.map(({ measures }) => measures),
      took: answers.map(({ took }) => took),
    });
  }
  return runs;
}
