/** Cursors: the place of the last item of a page, opaque to callers. */
import type { Page } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import { isUuid } from '../kernel/ids.ts';
import { isStorable } from '../kernel/text/storable.ts';

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

/** The largest `integer` of the database. */
const MAX_INTEGER = 2 ** 31 - 1;

/** A cursor that is a number up to `most`; `start` for the first page. */
export function numberCursor(cursor: string | undefined, start: number, most = MAX_INTEGER): number {
  if (cursor === undefined) return start;
  const number = Number(cursor);
  if (cursor.trim() === '' || !Number.isSafeInteger(number) || Math.abs(number) > most) throw invalidCursor();
  return number;
}

/** A cursor that is any text, encoded. */
export function textCursor(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  if (!isStorable(text)) throw invalidCursor();
  return text;
}

/** What `textCursor` reads. */
export const encodeTextCursor = (text: string): string => Buffer.from(text).toString('base64url');

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
