/** One set from its files to its measurements: through uploads and the pipeline, and asked through the search. */
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SearchMode } from '../../contracts/index.ts';
import { type Measures, measure } from './metrics.ts';
import { createPerson, type Login, type Person, Refusal } from './person.ts';
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
/** How often somebody who waits is told how far it is. */
const SAY_EVERY_MS = 10_000;
/** So many of what went wrong are told one by one. */
const SHOWN = 5;
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

/** Says something now and then, however often it is asked to. */
function nowAndThen(say: (message: string) => void) {
  let said = performance.now();
  return async (message: () => string | Promise<string>): Promise<void> => {
    if (performance.now() - said < SAY_EVERY_MS) return;
    said = performance.now();
    say(await message());
  };
}

/** Tells how many of `total` are done, now and then. */
function createProgress(total: number, say: (message: string) => void) {
  const tell = nowAndThen(say);
  let done = 0;
  return () => {
    done += 1;
    void tell(() => `${done} of ${total}`);
  };
}

/** What `work` answers, or `undefined` where it was refused, which is kept. Throws whatever else it throws. */
async function unlessRefused<T>(work: Promise<T>, refused: string[], what: string): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    refused.push(`${what}: ${error.message}`);
    return undefined;
  }
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
  const refused: string[] = [];
  const uploading = createProgress(documents.length, (how) => say(`${how} uploaded`));
  const uploaded = await inParallel(documents, UPLOADS, async (document, index) => {
    const id = await unlessRefused(person.upload(document, index), refused, document.id);
    uploading();
    return id === undefined ? [] : [[id, document.id] as const];
  });
  const ids = Object.fromEntries(uploaded.flat());
  const tell = nowAndThen(say);
  while (await person.isWaiting()) {
    await tell(async () => `${await person.left()} of ${documents.length} wait for the pipeline`);
    await Bun.sleep(POLL_MS);
  }
  const failed = await person.failures();
  const lost = [...refused, ...failed.map(({ document, message }) => `${ids[document] ?? document}: ${message}`)];
  if (lost.length > 0) say(`${lost.length} documents or more are not indexed`);
  for (const one of lost.slice(0, SHOWN)) say(`not indexed: ${one}`);
  if (lost.length >= documents.length) throw new Error('no document could be indexed');
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
    const refused: string[] = [];
    const asking = createProgress(set.queries.length, (how) => say(`${mode}: ${how} questions`));
    const answers = await inParallel(set.queries, SEARCHES, async ({ id, text, relevant }) => {
      const answer = await unlessRefused(person.search({ query: text, ...requestOf(mode) }), refused, id);
      asking();
      const known = (answer?.documents ?? []).flatMap((document) => ingested.ids[document] ?? []);
      return { measures: measure(rank(id, known), relevant) satisfies Measures, took: answer?.took };
    });
    for (const one of refused.slice(0, SHOWN)) say(`${mode}: nothing found, for it was refused: ${one}`);
    runs.push({
      set: set.name,
      mode,
      provider: await person.provider(),
      measured: answers.map(({ measures }) => measures),
      took: answers.flatMap(({ took }) => took ?? []),
    });
  }
  return runs;
}
