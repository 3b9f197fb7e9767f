import { Elysia } from 'elysia';
import { UsageReport } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { usageReport } from '../examples.ts';
import { UsageQuery } from '../models/usage.ts';
import { authenticated } from '../plugins/auth.ts';
import type { UsagePort } from '../ports.ts';

export function createUsageRoutes({ usage }: { usage: UsagePort }) {
  return new Elysia({ name: 'routes.usage' })
    .use(authenticated)
    .get('/usage', ({ query, principal }) => usage.report(query, principal), {
      query: UsageQuery,
      response: { 200: UsageReport },
      detail: describe({
        tag: 'administration',
        summary: 'What work with models has cost',
        description:
          'Tokens, cost, requests and storage over at most 366 days (default: the last 30). Owners and admins see the tenant’s, everybody else the own. Of an answer that was cut off, or whose provider does not say, tokens are counted by us.',
        answers: { 200: { description: 'Sums, and their totals', schema: UsageReport, example: usageReport } },
        errors: ['invalid_request'],
      }),
    });
}
