/**
 * Test sets from files: BEIR's layout (`corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv`) and SQuAD's JSON, where each
 * paragraph is a document and its questions ask for it. What is wrong with a set is told with file and line.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { Judgements } from './metrics.ts';

export interface EvalDocument {
  readonly id: string;
  readonly title: string;
  readonly text: string;
}

export interface EvalQuery {
  readonly id: string;
  readonly text: string;
  readonly relevant: Judgements;
}

export interface EvalSet {
  readonly name: string;
  readonly documents: readonly EvalDocument[];
  /** Only those with at least one relevant document in the corpus. */
  readonly queries: readonly EvalQuery[];
  /** What was left out, for people. */
  readonly notes: readonly string[];
}

/** A set that cannot be used, or a command that makes no sense: the person who asked can mend it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * All sets of a folder: one in BEIR's layout, or one for each SQuAD file; where there is neither, those of its folders.
 * Throws `UsageError`.
 */
export async function readSets(folder: string, split: string): Promise<EvalSet[]> {
  const info = await stat(folder).catch(() => undefined);
  if (!info?.isDirectory()) throw new UsageError(`${folder} is no folder.`);
  const here = await setsIn(folder, split);
  if (here) return here;
  const below: EvalSet[] = [];
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    // Not by the entry's kind: a link to a folder is one.
    if ((await stat(path).catch(() => undefined))?.isDirectory()) below.push(...((await setsIn(path, split)) ?? []));
  }
  if (below.length > 0) return below.sort((a, b) => (a.name < b.name ? -1 : 1));
  throw new UsageError(
    `${folder} holds no set: neither corpus.jsonl, queries.jsonl and qrels/${split}.tsv (BEIR) nor a .json file (SQuAD).`,
  );
}

/** `undefined` where the folder itself has none. */
async function setsIn(folder: string, split: string): Promise<EvalSet[] | undefined> {
  const names = (await readdir(folder)).sort();
  if (names.includes('corpus.jsonl') || names.includes('queries.jsonl')) return [await readBeir(folder, split)];
  const files = names.filter((name) => name.endsWith('.json'));
  if (files.length === 0) return undefined;
  return Promise.all(files.map((name) => readSquad(join(folder, name))));
}

/** Lines of a file of any size, with their numbers from 1. Throws `UsageError`. */
async function* linesOf(path: string): AsyncGenerator<{ line: string; number: number }> {
  let number = 0;
  let rest = '';
  const decoder = new TextDecoder();
  try {
    for await (const bytes of Bun.file(path).stream()) {
      const pieces = (rest + decoder.decode(bytes, { stream: true })).split('\n');
      rest = pieces.pop() ?? '';
      for (const line of pieces) yield { line, number: ++number };
    }
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  yield { line: rest + decoder.decode(), number: number + 1 };
}

async function read(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).replace(/^\ufeff/, '');
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

type Fields = Readonly<Record<string, unknown>>;
const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${where} is no JSON: ${error instanceof Error ? error.message : error}`);
  }
}

async function readLines(path: string): Promise<{ id: string; title: string; text: string }[]> {
  const found: { id: string; title: string; text: string }[] = [];
  const seen = new Map<string, number | bigint>();
  for await (const { line, number } of linesOf(path)) {
    if (line.trim() === '') continue;
    const where = `${path}:${number}`;
    const value = parse(line, where);
    const id = isFields(value) ? value['_id'] : undefined;
    const text = isFields(value) ? value['text'] : undefined;
    const title = isFields(value) ? (value['title'] ?? '') : '';
    if ((typeof id !== 'string' && typeof id !== 'number') || typeof text !== 'string' || typeof title !== 'string') {
      throw new UsageError(`${where} needs an _id and a text, both strings (and a string for a title).`);
    }
    const [before, now] = [seen.get(String(id)), Bun.hash(line)];
    // Some sets were put together of parts that overlap.
    if (before === now) continue;
    if (before !== undefined) throw new UsageError(`${where} has the _id ${id} again.`);
    seen.set(String(id), now);
    found.push({ id: String(id), title, text });
  }
  if (found.length === 0) throw new UsageError(`${path} is empty.`);
  return found;
}

/** BEIR's three columns, or trec_eval's four, of which the second says nothing. */
function columnsOf(line: string): string[] {
  const columns = line.includes('\t') ? line.split('\t') : line.trim().split(/\s+/);
  return columns.length === 4 ? columns.toSpliced(1, 1) : columns;
}

async function readJudgements(path: string): Promise<Map<string, Map<string, number>>> {
  const judgements = new Map<string, Map<string, number>>();
  for await (const { line, number } of linesOf(path)) {
    if (line.trim() === '') continue;
    const [query = '', document = '', score = ''] = columnsOf(line.trimEnd());
    const grade = Number(score);
    if (query === '' || document === '' || score.trim() === '' || !Number.isFinite(grade)) {
      if (number === 1) continue;
      throw new UsageError(`${path}:${number} needs three columns with tabs between: query, document, a number.`);
    }
    if (grade <= 0) continue;
    const grades = judgements.get(query) ?? new Map<string, number>();
    judgements.set(query, grades.set(document, grade));
  }
  return judgements;
}

async function readBeir(folder: string, split: string): Promise<EvalSet> {
  const [documents, questions, judgements] = await Promise.all([
    readLines(join(folder, 'corpus.jsonl')),
    readLines(join(folder, 'queries.jsonl')),
    readJudgements(join(folder, 'qrels', `${split}.tsv`)),
  ]);
  const known = new Set(documents.map(({ id }) => id));
  let unknown = 0;
  const queries = questions.flatMap(({ id, text }): EvalQuery[] => {
    const grades = [...(judgements.get(id) ?? [])];
    const relevant = new Map(grades.filter(([document]) => known.has(document)));
    unknown += grades.length - relevant.size;
    return relevant.size > 0 ? [{ id, text, relevant }] : [];
  });
  if (queries.length === 0) {
    throw new UsageError(`${folder}: no query of queries.jsonl has a relevant document of corpus.jsonl by its qrels.`);
  }
  const notes = unknown > 0 ? [`${unknown} judgements name documents that the corpus does not have`] : [];
  return { name: basename(resolve(folder)), documents, queries, notes };
}

async function readSquad(path: string): Promise<EvalSet> {
  const file = parse(await read(path), path);
  const articles = isFields(file) ? file['data'] : undefined;
  if (!Array.isArray(articles)) throw new UsageError(`${path} is no SQuAD file: it has no list "data".`);
  const documents: EvalDocument[] = [];
  const queries: EvalQuery[] = [];
  const idOf = new Map<string, string>();
  let [unanswerable, repeated] = [0, 0];
  for (const [number, article] of articles.entries()) {
    const paragraphs = isFields(article) ? article['paragraphs'] : undefined;
    if (!Array.isArray(paragraphs)) throw new UsageError(`${path}: data[${number}] has no list "paragraphs".`);
    for (const [at, paragraph] of paragraphs.entries()) {
      const where = `${path}: data[${number}].paragraphs[${at}]`;
      const text = isFields(paragraph) ? paragraph['context'] : undefined;
      const asked = isFields(paragraph) ? paragraph['qas'] : undefined;
      if (typeof text !== 'string' || !Array.isArray(asked)) throw new UsageError(`${where} needs a context and qas.`);
      // A paragraph that is there twice is one document: neither of two could be the better answer.
      const id = idOf.get(text) ?? `${number}-${at}`;
      if (idOf.has(text)) repeated += 1;
      else documents.push({ id, title: '', text });
      idOf.set(text, id);
      for (const [index, one] of asked.entries()) {
        const question = isFields(one) ? one['question'] : undefined;
        if (typeof question !== 'string') throw new UsageError(`${where}.qas[${index}] has no question.`);
        if (isFields(one) && one['is_impossible'] === true) unanswerable += 1;
        else queries.push({ id: `${number}-${at}-${index}`, text: question, relevant: new Map([[id, 1]]) });
      }
    }
  }
  if (queries.length === 0) throw new UsageError(`${path} has no questions that its paragraphs answer.`);
  const notes = [
    ...(unanswerable > 0 ? [`${unanswerable} questions are left out that no paragraph answers`] : []),
    ...(repeated > 0 ? [`${repeated} paragraphs are there already, and are one document each`] : []),
  ];
  return { name: basename(path, '.json'), documents, queries, notes };
}
