/** How tasks went and how tenants grew, over hours and days in UTC. Schemas, like `resources.ts`. */
import { type Static, Type } from '@sinclair/typebox';
import { Id, Nullable, Timestamp } from './resources.ts';

export const STATISTICS_BUCKETS = ['hour', 'day'] as const;
export type StatisticsBucket = (typeof STATISTICS_BUCKETS)[number];

const Spread = Nullable(
  Type.Object(
    { median: Type.Number(), p95: Type.Number() },
    { description: 'Seconds, of those that succeeded; told to within a quarter. Null where none did' },
  ),
);

const TaskCounts = {
  accepted: Type.Integer(),
  succeeded: Type.Integer(),
  failed: Type.Integer(),
  dead: Type.Integer(),
  cancelled: Type.Integer(),
  failure_rate: Nullable(Type.Number({ description: 'Failed and dead, of all that succeeded, failed or died: 0…1' })),
  seconds: Spread,
  stages: Type.Object(
    { queued: Spread, running: Spread },
    { description: 'From acceptance to start, from there to the end' },
  ),
};

export const TaskStatistics = Type.Object({
  bucket: Type.Unsafe<StatisticsBucket>({ type: 'string', enum: [...STATISTICS_BUCKETS] }),
  buckets: Type.Array(Type.Object({ start: Timestamp, ...TaskCounts }), {
    description: 'Every one of the range, in order',
  }),
  totals: Type.Object(TaskCounts),
});
export type TaskStatistics = Static<typeof TaskStatistics>;

const Growth = {
  documents: Type.Integer(),
  chunks: Type.Integer(),
  bytes: Type.Integer({ description: 'Of the documents’ files' }),
  users: Type.Integer(),
  conversations: Type.Integer(),
};
const Day = Type.String({ format: 'date', description: 'In UTC' });

export const GrowthStatistics = Type.Object({
  from: Day,
  to: Day,
  days: Type.Array(Type.Object({ day: Day, ...Growth }), {
    description: 'What came on each day of the range, whether or not it is still there',
  }),
  totals: Type.Object(Growth),
  top_tenants: Nullable(
    Type.Array(
      Type.Object({
        tenant_id: Id,
        name: Type.String(),
        chunks: Type.Integer(),
        days: Type.Array(Type.Object({ day: Day, chunks: Type.Integer() }), {
          description: 'Those on which chunks came',
        }),
      }),
      { description: 'For the operator: whose chunks grew most, first. Null for a tenant' },
    ),
  ),
});
export type GrowthStatistics = Static<typeof GrowthStatistics>;
