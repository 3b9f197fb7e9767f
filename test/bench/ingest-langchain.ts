/**
 * LangChain as people run it, from a document's text to rows: RecursiveCharacterTextSplitter, OpenAIEmbeddings (which asks for
 * base64, a request a document) and PGVectorStore with its defaults, four documents at once and a warm process. It reads
 * no file, keeps no original, detects no type or encoding, knows no headings, offsets or tokens, indexes no words, has no
 * tenants, tasks, retries or events, and nothing of it is resumed; its table has the vectors in 32 bits and no index on them.
 */
import { PGVectorStore } from '@langchain/community/vectorstores/pgvector';
import { OpenAIEmbeddings } from '@langchain/openai';
import { RecursiveCharacterTextSplitter } from '@langchain/textsplitters';
import pg from 'pg';

/** Characters that make about as many chunks of these documents as DreamHub cuts. */
const CHUNK = { chunkSize: 1_500, chunkOverlap: 150 };
const AT_ONCE = 4;

export interface LangchainOptions {
  databaseUrl: string;
  /** An OpenAI-compatible server's. */
  embeddingsUrl: string;
  dimensions: number;
}

export interface Langchain {
  /** Resolves once all are in the table, to the number of chunks; the table is empty then again. */
  load(texts: readonly string[], timed: (work: () => Promise<void>) => Promise<void>): Promise<number>;
  close(): Promise<void>;
}

export async function openLangchain({ databaseUrl, embeddingsUrl, dimensions }: LangchainOptions): Promise<Langchain> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: AT_ONCE });
  const embeddings = new OpenAIEmbeddings({
    model: 'instant',
    apiKey: 'instant',
    dimensions,
    configuration: { baseURL: embeddingsUrl },
  });
  const tableName = 'bench_langchain_whole';
  const store = await PGVectorStore.initialize(embeddings, { pool, tableName, dimensions });
  const splitter = new RecursiveCharacterTextSplitter(CHUNK);

  return {
    async load(texts, timed) {
      const queue = [...texts.entries()];
      const take = async () => {
        for (let next = queue.shift(); next; next = queue.shift()) {
          const source = `document-${next[0]}.md`;
          await store.addDocuments(await splitter.createDocuments([next[1]], [{ source }]));
        }
      };
      await timed(async () => {
        await Promise.all(Array.from({ length: AT_ONCE }, take));
      });
      const { rows } = await pool.query<{ count: number }>(`select count(*)::int as count from ${tableName}`);
      await pool.query(`truncate ${tableName}`);
      return rows[0]?.count ?? 0;
    },
    close: () => store.end(),
  };
}
