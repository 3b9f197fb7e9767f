/** What happens in an installation, told to somebody outside it. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import OpenAI from 'openai';
import { type Dreamhub, startDreamhub } from '../support/dreamhub.ts';
import { type Person, register } from '../support/person.ts';

let hub: Dreamhub;
let owner: Person;
beforeAll(async () => {
  hub = await startDreamhub('embedded');
  owner = await register(hub.url);
}, 120_000);
afterAll(async () => {
  await hub?.stop();
}, 60_000);

test('an embedded installation posts signed events to a neighbour, from the upload to the deletion', async () => {
  const received: { type: string; document_id: string }[] = [];
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  const failures: unknown[] = [];
  let secret = '';
  const receiver = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      const body = await request.text();
      try {
        await new OpenAI({ apiKey: 'none' }).webhooks.verifySignature(body, request.headers, secret);
        const event = JSON.parse(body) as { type: string; data: { document_id: string } };
        received.push({ type: event.type, document_id: event.data.document_id });
      } catch (error) {
        failures.push(error);
      }
      if (received.length === 3) resolve();
      return new Response(null, { status: 204 });
    },
  });
  try {
    const made = await owner.call<{ id: string; secret: string }>('POST', '/webhooks', { url: receiver.url.href });
    expect(made.status).toBe(201);
    secret = made.body.secret;
    const socket = await owner.socket();
    const { document_id } = await owner.learn(socket, 'The harbour master drinks coffee.', 'coffee.txt');
    expect((await owner.call('DELETE', `/documents/${document_id}`)).status).toBe(204);
    socket.close();
    await complete;
    expect(failures).toEqual([]);
    const types = ['document.uploaded', 'document.ready', 'document.deleted'];
    expect(received.map(({ type }) => type).sort()).toEqual([...types].sort());
    expect(new Set(received.map((one) => one.document_id))).toEqual(new Set([document_id]));
    const list = await owner.call('GET', '/webhooks');
    expect(JSON.stringify(list.body)).not.toContain('whsec_');
    const deliveries = await owner.call<{ items: { type: string }[] }>('GET', `/webhooks/${made.body.id}/deliveries`);
    expect(deliveries.body.items.map(({ type }) => type).sort()).toEqual([...types].sort());
    expect((await owner.call('DELETE', `/webhooks/${made.body.id}`)).status).toBe(204);
  } finally {
    await receiver.stop(true);
  }
}, 60_000);
