/** The sources of an answer as annotations of its text. */
import type { Principal, Source } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { CITATION_FORM, numbersOf } from '../../kernel/text/citation-form.ts';
import type { DocumentsPort } from '../ports.ts';
import { toFileId } from './ids.ts';

/** Where the text cites a source; both ends where nothing in the text does. UTF-16 offsets. */
export interface Citation {
  source: Source;
  filename: string;
  start: number;
  end: number;
}

/** Every place that cites one of the sources, in the order of the text; then those that no place cites. */
export async function citationsOf(
  { text, sources }: { text: string; sources: readonly Source[] },
  { documents, principal }: { documents: Pick<DocumentsPort, 'get'>; principal: Principal },
): Promise<Citation[]> {
  if (sources.length === 0) return [];
  const names = new Map<string, string>();
  for (const { document_id: id, title } of sources) {
    if (!names.has(id)) names.set(id, await filenameOf(id, title));
  }
  const byNumber = new Map(sources.map((source) => [source.n, source]));
  const cited = new Set<number>();
  const found: Citation[] = [];
  for (const match of text.matchAll(new RegExp(CITATION_FORM, 'gi'))) {
    for (const n of numbersOf(match[1] ?? '')) {
      const source = byNumber.get(n);
      if (!source) continue;
      cited.add(n);
      found.push(at(source, match.index, match.index + match[0].length));
    }
  }
  return [...found, ...sources.filter(({ n }) => !cited.has(n)).map((source) => at(source, text.length, text.length))];

  function at(source: Source, start: number, end: number): Citation {
    return { source, filename: names.get(source.document_id) ?? source.title, start, end };
  }

  async function filenameOf(id: string, title: string): Promise<string> {
    try {
      return (await documents.get(id, principal)).filename;
    } catch (error) {
      // Deleted since: its title is what the answer knew of it.
      if (error instanceof AppError && error.kind === 'not_found') return title;
      throw error;
    }
  }
}

/** On a message of a chat completion: the form that its API has for passages of files, with our place beside it. */
export const toMessageAnnotation = ({ source, filename, start, end }: Citation) => ({
  type: 'file_citation',
  start_index: start,
  end_index: end,
  file_citation: {
    file_id: toFileId(source.document_id),
    filename,
    title: source.title,
    quote: source.quote,
    page: source.page,
    document_id: source.document_id,
    chunk_id: source.chunk_id,
    start: source.start,
    end: source.end,
    verified: source.verified,
  },
});

/** On the text of a response: what its API has, with our place beside it. */
export const toTextAnnotation = ({ source, filename, start, end }: Citation) => ({
  type: 'file_citation',
  file_id: toFileId(source.document_id),
  filename,
  index: start,
  start_index: start,
  end_index: end,
  title: source.title,
  quote: source.quote,
  page: source.page,
  verified: source.verified,
});
