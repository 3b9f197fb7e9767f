import { Type } from '@sinclair/typebox';
import { STATISTICS_BUCKETS, type StatisticsBucket } from '../../contracts/index.ts';
import { RangeQuery } from './usage.ts';

export const TaskStatisticsQuery = Type.Object({
  bucket: Type.Optional(
    Type.Unsafe<StatisticsBucket>({ type: 'string', enum: [...STATISTICS_BUCKETS], description: 'Default: `hour`' }),
  ),
  ...RangeQuery,
});

export const GrowthQuery = Type.Object(RangeQuery);
