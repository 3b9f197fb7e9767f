/** Whether a document is there exactly as its input makes it, once. */
import { expect } from 'bun:test';
import { expectedChunks, type Input } from './chaos-documents.ts';
import type { Installation } from './chaos-installation.ts';

/** Exactly its chunks, of all versions together, each with its vector. */
export async function expectWhole({ sql }: Pick<Installation, 'sql'>, documentId: string, input: Input): Promise<void> {
  const rows = await sql<{ ordinal: number; text: string; start: number; end: number; vectors: number }[]>`
    select ordinal, text, start_offset as start, end_offset as "end",
      (select count(*)::int from chunk_vectors v where v.tenant_id = c.tenant_id and v.chunk_id = c.id) as vectors
    from chunks c where document_id = ${documentId} order by version, ordinal`;
  expect(rows.map(({ vectors: _, ...chunk }) => chunk)).toEqual(await expectedChunks(input));
  expect(rows.every(({ vectors }) => vectors === 1)).toBe(true);
}

/** Nothing of the tenant is counted as outstanding. */
export async function expectNothingCounted({ sql }: Pick<Installation, 'sql'>, tenantId: string): Promise<void> {
  const [row] = await sql`
    select outstanding, outstanding_bytes::int as bytes from tenant_load where tenant_id = ${tenantId}`;
  expect({ ...row }).toEqual({ outstanding: 0, bytes: 0 });
}
