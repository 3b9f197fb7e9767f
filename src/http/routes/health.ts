/** What load balancers, orchestrators and Prometheus ask. Outside `/api`, and open but for `/metrics`. */
import { timingSafeEqual } from 'node:crypto';
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { AppError } from '../../kernel/errors.ts';
import { describe } from '../documentation.ts';
import { Alive, Readiness } from '../models/operations.ts';
import { isLoopback } from '../origin.ts';
import type { HealthPort, MetricsPort } from '../ports.ts';

export interface HealthRoutesOptions {
  health: HealthPort;
  metrics: MetricsPort;
  /** Absent: metrics are for this machine alone. */
  metricsToken: string | undefined;
}

const tag = 'operations';
const RETRY_SECONDS = '5';

function hasToken(request: Request, expected: string | undefined): boolean {
  if (expected === undefined) return false;
  const given = Buffer.from(request.headers.get('authorization') ?? '');
  const wanted = Buffer.from(`Bearer ${expected}`);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

export function createHealthRoutes({ health, metrics, metricsToken }: HealthRoutesOptions) {
  const alive = {
    response: { 200: Alive },
    detail: describe({
      tag,
      open: true,
      summary: 'The process runs',
      answers: { 200: { description: 'It does', schema: Alive, example: { status: 'ok' } } },
    }),
  } as const;

  return new Elysia({ name: 'routes.health' })
    .get('/health', () => ({ status: 'ok' as const }), alive)
    .get('/healthz', () => ({ status: 'ok' as const }), alive)
    .get(
      '/readyz',
      async ({ set, status }) => {
        const readiness = await health.ready();
        if (readiness.status !== 'unavailable') return status(200, readiness);
        set.headers['retry-after'] = RETRY_SECONDS;
        return status(503, readiness);
      },
      {
        response: { 200: Readiness, 503: Readiness },
        detail: describe({
          tag,
          open: true,
          summary: 'The process serves',
          description: '`degraded`: it serves, though something that it uses does not answer as it should.',
          answers: {
            200: { description: 'It does', schema: Readiness, example: Readiness.example },
            503: {
              description: 'It does not',
              schema: Readiness,
              example: { status: 'unavailable', checks: { database: 'The database does not answer.', redis: 'ok' } },
            },
          },
        }),
      },
    )
    .get(
      '/metrics',
      async ({ request, server }) => {
        if (!isLoopback(request, server) && !hasToken(request, metricsToken)) {
          throw new AppError(
            'unauthenticated',
            'From elsewhere than this machine, metrics need METRICS_TOKEN as a bearer token.',
          );
        }
        return new Response(await metrics.metrics(), { headers: { 'content-type': metrics.contentType } });
      },
      {
        detail: describe({
          tag,
          open: true,
          summary: 'Metrics for Prometheus',
          description: 'Open on loopback; from elsewhere `METRICS_TOKEN` is the bearer token.',
          answers: {
            200: {
              description: 'Text exposition format',
              contentType: 'text/plain',
              schema: Type.String(),
              example: 'dreamhub_queue_length{queue="ingest"} 3',
            },
          },
          errors: ['unauthenticated'],
        }),
      },
    );
}
