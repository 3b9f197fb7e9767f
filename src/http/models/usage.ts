import { Type } from '@sinclair/typebox';
import { USAGE_GROUPS, type UsageGrouping } from '../../contracts/index.ts';

const day = (description: string) => Type.Optional(Type.String({ minLength: 10, maxLength: 40, description }));

export const RangeQuery = {
  from: day('First day, in UTC: a date (`2026-11-01`), or a time (RFC 3339) on it'),
  to: day('Last day, in UTC; default: today'),
};

export const UsageQuery = Type.Object({
  ...RangeQuery,
  group_by: Type.Optional(
    Type.Unsafe<UsageGrouping>({ type: 'string', enum: [...USAGE_GROUPS], description: 'Default: `day`' }),
  ),
});
