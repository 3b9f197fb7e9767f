/** Cursors: the place of the last item of a page, opaque to callers. */
import type { Page } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import { isUuid } from '../kernel/ids.ts';

const UUID_CHARS = 36;

function invalidCursor(): AppError {
  return new AppError('invalid_request', 'The cursor is not one that this list gave out.', {
    errors: [{ path: 'cursor', message: 'unknown cursor' }],
  });
}

/** A cursor that is an id. */
export function idCursor(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  if (!isUuid(cursor)) throw invalidCursor();
  return cursor;
}

/** A cursor that is a number; `start` for the first page. */
export function numberCursor(cursor: string | undefined, start: number): number {
  if (cursor === undefined) return start;
  const number = Number(cursor);
  if (cursor.trim() === '' || !Number.isSafeInteger(number)) throw invalidCursor();
  return number;
}

/** A cursor that is two ids, one behind the other. */
export function idsCursor(cursor: string | undefined): [string, string] | undefined {
  if (cursor === undefined) return undefined;
  const ids: [string, string] = [cursor.slice(0, UUID_CHARS), cursor.slice(UUID_CHARS)];
  if (!ids.every(isUuid)) throw invalidCursor();
  return ids;
}

/** Makes a page of up to `limit` items from rows that were asked for with `limit + 1`. */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  options: { cursor: (row: Row) => string; item: (row: Row) => Item },
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    items: shown.map(options.item),
    next_cursor: rows.length > limit && last !== undefined ? options.cursor(last) : null,
  };
}
