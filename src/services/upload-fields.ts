/** What a person may say about an upload beside its bytes: the form's fields, checked together. */
import type { Chunking, Visibility } from '../contracts/index.ts';
import { VISIBILITIES } from '../contracts/index.ts';
import { readChunking } from '../ingest/chunk-rules.ts';
import { AppError, type FieldError } from '../kernel/errors.ts';
import { isNestedDeeper, MAX_NESTING } from '../kernel/nesting.ts';
import { isStorable } from '../kernel/text/storable.ts';

export interface UploadFields {
  title: string | undefined;
  sourceType: string;
  visibility: Visibility;
  metadata: Record<string, unknown>;
  priority: number;
  chunking: Chunking | null;
  /** The caller's own name for the file: the same one again brings a new version. */
  item: string | null;
}

const DEFAULT_PRIORITY = 5;
const MAX_TITLE = 500;
/** What the index of items can hold. */
const MAX_ITEM_BYTES = 2_000;

function parseMetadata(text: string | undefined, errors: FieldError[]): Record<string, unknown> {
  if (text === undefined || text.trim() === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    // Whoever reads the document reads this: parsers of other languages give up at some hundred levels.
    if (isNestedDeeper(value, MAX_NESTING)) {
      errors.push({ path: 'metadata', message: `nested deeper than ${MAX_NESTING} levels` });
      return {};
    }
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Told below, with everything else that is no object.
  }
  errors.push({ path: 'metadata', message: 'a JSON object is needed' });
  return {};
}

/** Not a number where it says something else. */
const numberIn = (text: string | undefined): number | undefined =>
  text === undefined || text.trim() === '' ? undefined : Number(text);

/** Throws `invalid_request` naming every field that is wrong. */
export function parseUploadFields(fields: Record<string, string>): UploadFields {
  const errors: FieldError[] = [];
  const title = fields['title']?.trim() || undefined;
  if (title !== undefined && title.length > MAX_TITLE) {
    errors.push({ path: 'title', message: `at most ${MAX_TITLE} characters` });
  }
  const sourceType = fields['source_type']?.trim() || 'upload';
  if (!/^[a-z0-9_-]{1,50}$/i.test(sourceType)) {
    errors.push({ path: 'source_type', message: 'up to 50 letters, digits, - and _' });
  }
  const wanted = fields['visibility']?.trim() || 'tenant';
  const visibility = VISIBILITIES.find((known) => known === wanted);
  if (!visibility) errors.push({ path: 'visibility', message: `one of ${VISIBILITIES.join(', ')}` });
  const priority = numberIn(fields['priority']) ?? DEFAULT_PRIORITY;
  if (!Number.isInteger(priority) || priority < 0 || priority > 9) {
    errors.push({ path: 'priority', message: 'a whole number from 0 to 9' });
  }
  const metadata = parseMetadata(fields['metadata'], errors);
  for (const [path, value] of Object.entries({
    title,
    metadata,
    source_item: fields['source_item'] ?? fields['external_id'],
  })) {
    if (!isStorable(value)) errors.push({ path, message: 'no NUL and no half of a surrogate pair' });
  }
  const item = (fields['source_item'] ?? fields['external_id'])?.trim() || null;
  if (item !== null && Buffer.byteLength(item) > MAX_ITEM_BYTES) {
    errors.push({ path: 'source_item', message: `at most ${MAX_ITEM_BYTES} bytes` });
  }
  const chunking = readChunking(
    {
      strategy: fields['chunking']?.trim() || undefined,
      chunk_tokens: numberIn(fields['chunk_tokens']),
      chunk_overlap: numberIn(fields['chunk_overlap']),
    },
    errors,
    'chunking',
  );
  if (errors.length > 0) throw new AppError('invalid_request', 'The form has fields that are not valid.', { errors });
  return { title, sourceType, visibility: visibility ?? 'tenant', metadata, priority, chunking, item };
}

/** A document's name where nobody gave one: the file's, without its ending. */
export function titleFrom(filename: string): string {
  const bare = filename.replace(/\.[A-Za-z0-9]{1,10}$/, '');
  return (bare || filename || 'Untitled').slice(0, MAX_TITLE).toWellFormed();
}
