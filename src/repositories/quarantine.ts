import type { Visibility } from '../contracts/index.ts';
import type { Sql } from '../db/database.ts';

export interface QuarantinedDocument {
  id: string;
  title: string;
  filename: string;
  mediaType: string;
  size: number;
  /** 64 hex digits. */
  sha256: string;
  sourceType: string;
  visibility: Visibility;
  /** Why, in words for people. */
  message: string;
}

/** A document that is only a notice: no task, no bytes. False where there is one of the same bytes already. */
export async function insertQuarantined(sql: Sql, document: QuarantinedDocument): Promise<boolean> {
  const rows = await sql`
    insert into documents (id, visibility, title, filename, media_type, size, sha256, source_type, status, error_code,
      error_message)
    values (${document.id}, ${document.visibility}, ${document.title}, ${document.filename}, ${document.mediaType},
      ${document.size}, decode(${document.sha256}, 'hex'), ${document.sourceType}, 'quarantined', 'malware_detected',
      ${document.message})
    on conflict do nothing
    returning id`;
  return rows.length > 0;
}
