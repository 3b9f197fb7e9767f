/** How rows of ours are called by clients of OpenAI's API: a prefix that says what it is, and the row's own id. */
import { type TSchema, Type } from '@sinclair/typebox';

const UUID = '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}';
const UUID_CHARS = 36;

export const toFileId = (documentId: string) => `file-${documentId}`;
export const toStoreId = (storeId: string) => `vs_${storeId}`;
export const toBatchId = (batchId: string) => `vsfb_${batchId}`;
export const toResponseId = (turnId: string) => `resp_${turnId}`;
export const toCompletionId = (turnId: string) => `chatcmpl-${turnId}`;

/** With its prefix, or bare, as the rest of the API has it. */
const idSchema = (prefix: string) => Type.String({ pattern: `^(${prefix})?${UUID}$` });

export const FileId = idSchema('file-');
export const StoreId = idSchema('vs_');
export const ResponseId = idSchema('resp_');
export const BatchId = idSchema('vsfb_');

/** The row that an id names which fits its schema. */
export const rowOf = (id: string) => id.slice(-UUID_CHARS).toLowerCase();

/** An id in a path that cannot name a row names none: `not_found`. */
export const params = <T extends Record<string, TSchema>>(schemas: T) => Type.Object(schemas);
