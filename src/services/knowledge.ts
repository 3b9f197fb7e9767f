/** The tenant's documents for another program's model: what is there about something, and what one of them says. */
import type { DocumentResource, Principal } from '../contracts/index.ts';
import type { OwnedDocuments } from './ownership.ts';
import type { Search } from './search.ts';

export interface FoundDocument {
  id: string;
  title: string;
  /** The best passage. */
  text: string;
  /** Where the document came from, if that is a page of the web. */
  origin: string | undefined;
}

export interface ReadDocument {
  document: DocumentResource;
  /** Its text, up to `MOST_CHARS`. */
  text: string;
  whole: boolean;
  origin: string | undefined;
}

export interface Knowledge {
  /** Documents, best first, each once. */
  find(query: string, by: Principal, signal?: AbortSignal): Promise<FoundDocument[]>;
  /** Throws `not_found`, and `conflict` while a document has no text yet. */
  read(id: string, by: Principal): Promise<ReadDocument>;
}

const MOST_FOUND = 10;
/** More than a model reads at once. */
const MOST_CHARS = 500_000;

const originOf = ({ source_item: item }: DocumentResource): string | undefined =>
  item !== null && /^https?:\/\//i.test(item) && URL.canParse(item) ? item : undefined;

export function createKnowledge({
  search,
  documents,
}: {
  search: Pick<Search, 'hits'>;
  documents: Pick<OwnedDocuments, 'get' | 'text'>;
}): Knowledge {
  /** A text in UTF-8 up to so many characters. */
  async function beginning(stream: ReadableStream<Uint8Array>): Promise<{ text: string; whole: boolean }> {
    const decoder = new TextDecoder();
    let text = '';
    for await (const piece of stream) {
      text += decoder.decode(piece, { stream: true });
      if (text.length > MOST_CHARS) {
        return { text: text.slice(0, MOST_CHARS).replace(/[\ud800-\udbff]$/, ''), whole: false };
      }
    }
    return { text: text + decoder.decode(), whole: true };
  }

  return {
    async find(query, by, signal) {
      const asked = { query, top_k: MOST_FOUND, mode: 'hybrid' as const, filter: {}, max_per_document: 1 };
      const hits = await search.hits(asked, signal);
      return Promise.all(
        hits.map(async ({ document_id: id, title, text }) => ({
          id,
          title,
          text,
          origin: originOf(await documents.get(id, by)),
        })),
      );
    },

    async read(id, by) {
      const text = await beginning(await documents.text(id));
      const document = await documents.get(id, by);
      return { document, ...text, origin: originOf(document) };
    },
  };
}
