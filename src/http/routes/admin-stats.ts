/** How tasks went and how tenants grew: for the operator over all tenants, for a tenant's owners and admins over their own. */
import { Elysia } from 'elysia';
import { GrowthStatistics, TaskStatistics } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { growthStatistics, taskStatistics } from '../examples.ts';
import { GrowthQuery, TaskStatisticsQuery } from '../models/statistics.ts';
import { administered } from '../plugins/administered.ts';
import type { StatisticsPort } from '../ports.ts';

const tag = 'administration';

export function createAdminStatsRoutes({ statistics }: { statistics: StatisticsPort }) {
  return new Elysia({ name: 'routes.admin-stats' })
    .use(administered)
    .get('/admin/stats/tasks', ({ reach, query }) => statistics.tasks(reach, query), {
      query: TaskStatisticsQuery,
      response: { 200: TaskStatistics },
      detail: describe({
        tag,
        summary: 'How tasks went, hour by hour or day by day',
        description:
          'Buckets from the one with `from` to the one with `to`, in UTC: by hours at most 31 days (default: the last 24 hours), by days at most 366 (default: the last 30). What was accepted counts when it came, all else when it ended.',
        answers: { 200: { description: 'Each bucket', schema: TaskStatistics, example: taskStatistics } },
        errors: ['invalid_request'],
      }),
    })
    .get('/admin/stats/growth', ({ reach, query }) => statistics.growth(reach, query), {
      query: GrowthQuery,
      response: { 200: GrowthStatistics },
      detail: describe({
        tag,
        summary: 'What came on each day',
        description:
          'Documents, their chunks and bytes, users and conversations, over at most 366 days (default: the last 30), in UTC. With the operator’s token of all tenants, and whose chunks grew most.',
        answers: { 200: { description: 'Each day', schema: GrowthStatistics, example: growthStatistics } },
        errors: ['invalid_request'],
      }),
    });
}
