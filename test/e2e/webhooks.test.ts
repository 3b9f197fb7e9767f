/** What happens in an installation, told to somebody outside it. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type Dreamhub, startDreamhub } from '../support/dreamhub.ts';
import { type Person, register } from '../support/person.ts';
import { receiveWebhooks } from '../support/webhook-receiver.ts';

interface Told {
  type: string;
  data: { document_id: string };
}

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
  const { promise: complete, resolve } = Promise.withResolvers<void>();
  const receiver = receiveWebhooks(() => {
    if (receiver.received.length === 3) resolve();
    return 204;
  });
  try {
    const made = await owner.call<{ id: string; secret: string }>('POST', '/webhooks', { url: receiver.url });
    expect(made.status).toBe(201);
    receiver.trust(made.body.secret);
    const socket = await owner.socket();
    const { document_id } = await owner.learn(socket, 'The harbour master drinks coffee.', 'coffee.txt');
    expect((await owner.call('DELETE', `/documents/${document_id}`)).status).toBe(204);
    socket.close();
    await complete;
    expect(receiver.untrusted).toEqual([]);
    const received = receiver.received.map(({ body }) => JSON.parse(body) as Told);
    const types = ['document.uploaded', 'document.ready', 'document.deleted'];
    expect(received.map(({ type }) => type).sort()).toEqual([...types].sort());
    expect(new Set(received.map(({ data }) => data.document_id))).toEqual(new Set([document_id]));
    const list = await owner.call('GET', '/webhooks');
    expect(JSON.stringify(list.body)).not.toContain('whsec_');
    const deliveries = await owner.call<{ items: { type: string }[] }>('GET', `/webhooks/${made.body.id}/deliveries`);
    expect(deliveries.body.items.map(({ type }) => type).sort()).toEqual([...types].sort());
    expect((await owner.call('DELETE', `/webhooks/${made.body.id}`)).status).toBe(204);
  } finally {
    await receiver.stop();
  }
}, 60_000);
