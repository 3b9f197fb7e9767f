/** Lists as OpenAI's API pages them: by the id that a page ended with. */
import { type Static, Type } from '@sinclair/typebox';
import type { IdPage } from '../../contracts/index.ts';
import { queryInteger } from '../models/common.ts';
import { oneOf } from '../models/one-of.ts';
import { rowOf } from './ids.ts';

export const ListQuery = Type.Object({
  limit: queryInteger('limit', { minimum: 1, maximum: 100, default: 20 }),
  order: oneOf(['asc', 'desc'], { default: 'desc' }),
  after: Type.Optional(Type.String({ minLength: 36, maxLength: 50 })),
  before: Type.Optional(Type.String({ minLength: 36, maxLength: 50 })),
});
type ListQuery = Static<typeof ListQuery>;

/** One more than is shown, so that it is known whether there are more. */
export const toIdPage = ({ limit, order, after, before }: ListQuery): IdPage => ({
  limit: limit + 1,
  order,
  after: after === undefined ? undefined : rowOf(after),
  before: before === undefined ? undefined : rowOf(before),
});

/** Of items that were asked for with one more than `limit`. */
export function toList<T extends { id: string }>(items: readonly T[], limit: number) {
  const data = items.slice(0, limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: items.length > limit,
  };
}

export const seconds = (at: Date | string) => Math.floor(new Date(at).getTime() / 1_000);
