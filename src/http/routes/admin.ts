/** For the operator, over all tenants, and for a tenant's owners and admins, over their own. */
import { Elysia } from 'elysia';
import { DeadLetter, PageOf, QueueState, Quotas, TaskResource } from '../../contracts/index.ts';
import { describe } from '../documentation.ts';
import { deadLetter, queueState, quotas as quotasExample, task } from '../examples.ts';
import { jsonBody } from '../json-body.ts';
import { QuotaChangeBody } from '../models/administration.ts';
import { IdParams, PageQuery } from '../models/common.ts';
import { administered, operators } from '../plugins/administered.ts';
import type { AdministrationPort, QuotasPort } from '../ports.ts';
import { stateOf } from '../request-state.ts';

const tag = 'administration';
const DeadLetters = PageOf(DeadLetter);

export function createAdminRoutes({
  administration,
  quotas,
}: {
  administration: AdministrationPort;
  quotas: QuotasPort;
}) {
  return new Elysia({ name: 'routes.admin' })
    .use(administered)
    .get('/admin/queue', ({ reach }) => administration.queue(reach), {
      response: { 200: QueueState },
      detail: describe({
        tag,
        summary: 'What waits and runs, lane by lane',
        description:
          'Of the own tenant; with the operator’s token of all tenants, and which of them have most waiting.',
        answers: { 200: { description: 'Each lane', schema: QueueState, example: queueState } },
        errors: ['forbidden'],
      }),
    })
    .get('/admin/dead-letters', ({ reach, query }) => administration.deadLetters(reach, query), {
      query: PageQuery,
      response: { 200: DeadLetters },
      detail: describe({
        tag,
        summary: 'Tasks whose attempts ran out, newest first',
        answers: {
          200: { description: 'One page', schema: DeadLetters, example: { items: [deadLetter], next_cursor: null } },
        },
        errors: ['forbidden', 'invalid_request'],
      }),
    })
    .post(
      '/admin/dead-letters/:id/replay',
      ({ reach, params, request }) => administration.replay(reach, params.id, stateOf(request).traceId),
      {
        params: IdParams,
        parse: 'none',
        response: { 200: TaskResource },
        detail: describe({
          tag,
          summary: 'Try a dead task again',
          description: 'In the name of whoever uploaded the document.',
          answers: {
            200: {
              description: 'Queued again',
              schema: TaskResource,
              example: { ...task, status: 'queued', stage: null },
            },
          },
          errors: ['not_found', 'forbidden', 'conflict', 'queue_full', 'payload_too_large'],
        }),
      },
    )
    .put(
      '/admin/tenants/:id/quotas',
      ({ params, body, request }) => quotas.grant(params.id, body, stateOf(request).traceId),
      {
        params: IdParams,
        parse: jsonBody,
        body: QuotaChangeBody,
        beforeHandle: operators,
        response: { 200: Quotas },
        detail: describe({
          tag,
          summary: 'Grant a tenant other ceilings',
          description:
            'With the operator’s token alone. A weight is in force at once, the others bound what the tenant sets.',
          answers: { 200: { description: 'What the tenant has now', schema: Quotas, example: quotasExample } },
          errors: [
            'malformed',
            'invalid_request',
            'payload_too_large',
            'unsupported_media_type',
            'not_found',
            'forbidden',
          ],
        }),
      },
    );
}
