import { Elysia } from 'elysia';
import { describe } from '../documentation.ts';
import { Ticket } from '../models/operations.ts';
import { authenticated } from '../plugins/auth.ts';
import type { TicketsPort } from '../ports.ts';

export function createTicketRoutes({ tickets }: { tickets: TicketsPort }) {
  return new Elysia({ name: 'routes.tickets' })
    .use(authenticated)
    .post('/ws/tickets', async ({ principal, status }) => status(201, await tickets.issue(principal)), {
      parse: 'none',
      response: { 201: Ticket },
      detail: describe({
        tag: 'realtime',
        summary: 'A ticket for one WebSocket',
        description:
          'For browsers, which cannot send an `Authorization` header with an upgrade: `GET /ws?ticket=…`. Good for one use.',
        answers: { 201: { description: 'The ticket', schema: Ticket, example: Ticket.example } },
      }),
    });
}
