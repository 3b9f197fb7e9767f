/**
 * Schema kinds that TypeBox knows by name only and has to be told how to check: string enums made with `Type.Unsafe`, and
 * metadata filters, which are recursive and would otherwise leave dangling references in the OpenAPI document.
 */
import { TypeRegistry } from '@sinclair/typebox';
import { isMetadataFilter } from './metadata-filter.ts';

export const METADATA_FILTER = 'MetadataFilter';

function isMember(schema: unknown, value: unknown): boolean {
  if (typeof schema !== 'object' || schema === null || !('enum' in schema) || !Array.isArray(schema.enum)) return false;
  return schema.enum.includes(value);
}

/** The registry is TypeBox's own and global; registering twice changes nothing. */
export function registerKinds(): void {
  TypeRegistry.Set('Unsafe', isMember);
  TypeRegistry.Set(METADATA_FILTER, (_schema, value) => isMetadataFilter(value));
}
