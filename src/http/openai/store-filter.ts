/** Filters of vector stores in the words of a metadata filter. */
import { type Static, Type } from '@sinclair/typebox';
import type { MetadataFilter } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { isMetadataFilter } from '../metadata-filter.ts';

/** Checked by hand: it holds itself. */
export const StoreFilter = Type.Unknown();

const COMPARISONS: ReadonlySet<unknown> = new Set(['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'nin']);
const JOINTS: ReadonlySet<unknown> = new Set(['and', 'or']);

function translated(filter: unknown): unknown {
  if (typeof filter !== 'object' || filter === null || !('type' in filter)) return undefined;
  const { type } = filter;
  if (COMPARISONS.has(type) && 'key' in filter && typeof filter.key === 'string' && 'value' in filter) {
    return { [filter.key]: { [String(type)]: filter.value } };
  }
  if (JOINTS.has(type) && 'filters' in filter && Array.isArray(filter.filters)) {
    return { [String(type)]: filter.filters.map(translated) };
  }
  return undefined;
}

/** Throws `invalid_request` for what is no filter, or one that is too large. */
export function toMetadataFilter(filter: Static<typeof StoreFilter>): MetadataFilter | undefined {
  if (filter === undefined || filter === null) return undefined;
  const found = translated(filter);
  if (isMetadataFilter(found)) return found;
  throw new AppError('invalid_request', 'The filter is not valid.', {
    errors: [{ path: 'filters', message: 'Expected {type, key, value}, or {type: and|or, filters}' }],
  });
}
