/** The chunking evaluation set of `../shared/data`: corpora, and questions with the exact places of their evidence. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dir, '../../../shared/data/chunking');

export const hasChunkingData = existsSync(join(FOLDER, 'questions.csv'));

export interface Question {
  question: string;
  corpus: string;
  /** UTF-16 offsets into the corpus. */
  evidence: { start: number; end: number; content: string }[];
}

export function readCorpus(name: string): Promise<string> {
  return Bun.file(join(FOLDER, 'corpora', `${name}.md`)).text();
}

export async function readQuestions(): Promise<Question[]> {
  const [, ...rows] = parseCsv(await Bun.file(join(FOLDER, 'questions.csv')).text());
  return rows
    .filter((row) => row.length === 3)
    .map(([question = '', references = '[]', corpus = '']) => {
      const parsed: { content: string; start_index: number; end_index: number }[] = JSON.parse(references);
      const evidence = parsed.map(({ content, start_index, end_index }) => ({
        content,
        start: start_index,
        end: end_index,
      }));
      return { question, corpus, evidence };
    });
}

/** Quoted fields with doubled quotes, as in RFC 4180. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    row.push(quoted?.replaceAll('""', '"') ?? plain ?? '');
    if (end === ',') continue;
    rows.push(row);
    row = [];
  }
  return rows;
}
