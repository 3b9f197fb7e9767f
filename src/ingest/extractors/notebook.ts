/** Jupyter notebooks: text cells as the Markdown they are, code and what it printed in fences. Pictures are left out. */
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { cleanText } from '../clean-text.ts';
import { decodeFile } from '../decode-stream.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { markdownOfHtml } from '../html-tree.ts';
import { markdownHeadings } from '../markdown-headings.ts';

const Lines = Type.Union([Type.String(), Type.Array(Type.String()), Type.Null()]);
const Output = Type.Object({
  text: Type.Optional(Lines),
  data: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  ename: Type.Optional(Type.String()),
  evalue: Type.Optional(Type.String()),
});
const Cell = Type.Object({
  cell_type: Type.String(),
  source: Type.Optional(Lines),
  // Its name before version 4.
  input: Type.Optional(Lines),
  level: Type.Optional(Type.Number()),
  outputs: Type.Optional(Type.Union([Type.Array(Output), Type.Null()])),
});
const Notebook = Type.Object({
  cells: Type.Optional(Type.Array(Cell)),
  worksheets: Type.Optional(Type.Array(Type.Object({ cells: Type.Array(Cell) }))),
  metadata: Type.Optional(
    Type.Object({
      title: Type.Optional(Type.String()),
      language_info: Type.Optional(Type.Object({ name: Type.Optional(Type.String()) })),
      kernelspec: Type.Optional(Type.Object({ language: Type.Optional(Type.String()) })),
    }),
  ),
});

/** What a cell printed may be a log of a day: its beginning says what it is. */
const MAX_OUTPUT_CHARS = 20_000;

export const extractNotebook: HeldExtractor = async ({ path }) => {
  const notebook = parse((await Array.fromAsync(decodeFile(path))).join(''));
  const { metadata } = notebook;
  const language = metadata?.language_info?.name ?? metadata?.kernelspec?.language ?? '';
  const cells = notebook.cells ?? notebook.worksheets?.flatMap((sheet) => sheet.cells) ?? [];
  const blocks = cells.flatMap((cell) => blocksOf(cell, /^[\w+#-]{1,30}$/.test(language) ? language : ''));
  const text = cleanText(blocks.filter((block) => block.trim() !== '').join('\n\n'));
  const headings = markdownHeadings(text);
  const title = metadata?.title?.trim() || (headings.find(({ level }) => level === 1)?.title ?? null);
  return { text, title, pages: [], headings };
};

function parse(source: string): Static<typeof Notebook> {
  let notebook: unknown;
  try {
    notebook = JSON.parse(source);
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new ExtractError('corrupt', 'The notebook is damaged: it is not valid JSON.', error);
  }
  if (!Value.Check(Notebook, notebook)) throw new ExtractError('corrupt', 'The file is not a Jupyter notebook.');
  return notebook;
}

function blocksOf({ cell_type: kind, source, input, level, outputs }: Static<typeof Cell>, language: string): string[] {
  const text = joined(source ?? input);
  if (kind === 'code') return [fenced(text, language), ...(outputs ?? []).map(printed)];
  // A kind of cell before version 4.
  if (kind === 'heading')
    return [`${'#'.repeat(Math.max(1, Math.min(6, level ?? 1)))} ${text.replace(/\s+/g, ' ').trim()}`];
  return [text];
}

/** What stands for an output that is shown otherwise. */
const STAND_IN = /^<[\w.]+ object(?: at 0x[0-9a-f]+)?>$/;
const MAX_HTML_CHARS = 500_000;

/** Its words in the form that is nearest to text. */
function printed({ text, data = {}, ename, evalue }: Static<typeof Output>): string {
  if (ename !== undefined) return fenced(`${ename}: ${evalue ?? ''}`, '');
  const of = (type: string) => {
    const said = data[type];
    return Value.Check(Lines, said) ? joined(said) : '';
  };
  const plain = joined(text) || of('text/plain');
  if (plain.trim() !== '' && !STAND_IN.test(plain.trim())) return fenced(plain.slice(0, MAX_OUTPUT_CHARS), '');
  const html = of('text/html');
  const read = of('text/markdown') || (html.length <= MAX_HTML_CHARS ? markdownOfHtml(html) : '') || of('text/latex');
  return read.slice(0, MAX_OUTPUT_CHARS);
}

const joined = (lines: Static<typeof Lines> | undefined) => (Array.isArray(lines) ? lines.join('') : (lines ?? ''));

function fenced(code: string, language: string): string {
  const bare = code.replace(/\n+$/, '');
  if (bare.trim() === '') return '';
  const longest = (bare.match(/`+/g) ?? []).reduce((most, run) => Math.max(most, run.length), 2);
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${bare}\n${fence}`;
}
