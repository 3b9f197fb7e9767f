/**
 * What happens in a tenant, told while every process that could tell it is killed again and again: each event comes at least once,
 * under one id and with one body however often it comes, trusted by whoever has the secret, and never before what it follows from.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { say } from '../support/chaos-say.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';
import { receiveWebhooks } from '../support/webhook-receiver.ts';

interface Told {
  id: string;
  type: string;
  tenant_id: string;
  data: { document_id: string };
}

let installation: Installation;
let person: Person;
beforeAll(async () => {
  installation = await startInstallation({ workers: 2, env: { ALLOW_PRIVATE_WEBHOOKS: 'true' } });
  person = await register(installation.url);
}, 120_000);
afterAll(() => installation?.stop());

const DOCUMENTS = process.env['SOAK'] ? 40 : 6;
const DELETED = 3;
const KILLS = process.env['SOAK'] ? 20 : 3;
const KILL_EVERY_MS = 500;
const RECOVERY_MS = 100_000;
const REFUSED_SHARE = 0.2;

test('events reach webhooks and the tenant’s stream through kill -9 of whoever tells them', async () => {
  const { sql, redis, workers } = installation;
  // Taken, and yet refused: it comes again.
  const receiver = receiveWebhooks(() => (Math.random() < REFUSED_SHARE ? 500 : 204));
  const { received, untrusted } = receiver;
  try {
    const made = await person.call<{ id: string; secret: string }>('POST', '/webhooks', { url: receiver.url });
    expect(made.status).toBe(201);
    receiver.trust(made.body.secret);
    const killing = (async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await systemClock.sleep(KILL_EVERY_MS);
        workers[kill % workers.length]?.kill();
      }
    })();
    const ids: string[] = [];
    for (let number = 0; number < DOCUMENTS; number++) {
      const input = inputOf(person.tenant, number, 2);
      const { status, body } = await person.upload(input.content, input.filename);
      expect(status).toBe(202);
      ids.push(body.document_id);
    }
    await killing;
    await eventually(
      'all documents are ready',
      async () =>
        (await sql`select 1 from documents where id = any(${ids}::uuid[]) and status = 'ready'`).length === DOCUMENTS,
      RECOVERY_MS,
    );
    const gone = ids.slice(0, DELETED);
    for (const id of gone) expect((await person.call('DELETE', `/documents/${id}`)).status).toBe(204);
    const expected = [
      ...ids.flatMap((id) => [`document.uploaded ${id}`, `document.ready ${id}`]),
      ...gone.map((id) => `document.deleted ${id}`),
    ].toSorted();

    await eventually(
      'every event has left',
      async () => {
        // The lease of a relay and the attempt of a sender that died, and the pauses after what was refused.
        await sql`update outbox_leases set leased_until = now() where leased_until > now() + interval '1 second'`;
        await sql`update webhook_deliveries set next_at = now() where status = 'pending' and next_at > now() + interval '1 second'`;
        const rows =
          await sql`select 1 from outbox union all select 1 from webhook_deliveries where status = 'pending'`;
        return rows.length === 0;
      },
      RECOVERY_MS,
    );
    expect(untrusted).toEqual([]);
    const nameOf = ({ type, data }: Told) => `${type} ${data.document_id}`;
    const bodies = Map.groupBy(received, ({ id }) => id);
    for (const [id, own] of bodies) {
      expect(new Set(own.map(({ body }) => body)).size).toBe(1);
      expect((JSON.parse(own[0]?.body ?? '{}') as Told).id).toBe(id);
    }
    const told = [...bodies.values()].map(([first]) => JSON.parse(first?.body ?? '{}') as Told);
    expect(told.map(nameOf).toSorted()).toEqual(expected);

    // The stream keeps their order, whoever publishes again what another one had published.
    const entries = await redis.xrange((await redis.keys('dh:*:events:*'))[0] ?? '', '-', '+');
    const streamed = entries.map(([, fields]) => JSON.parse(fields[1] ?? '{}') as Told);
    expect(new Set(streamed.map(({ tenant_id }) => tenant_id))).toEqual(new Set([person.session.tenant.id]));
    const first = [...new Map(streamed.toReversed().map((event) => [event.id, event])).values()].toReversed();
    expect(first.map(nameOf).toSorted()).toEqual(expected);
    const places = new Map(first.map((event, place) => [nameOf(event), place]));
    const placeOf = (name: string) => places.get(name) ?? Number.NaN;
    for (const id of ids) expect(placeOf(`document.uploaded ${id}`)).toBeLessThan(placeOf(`document.ready ${id}`));
    for (const id of gone) expect(placeOf(`document.ready ${id}`)).toBeLessThan(placeOf(`document.deleted ${id}`));
    say(
      `${KILLS} kills: ${expected.length} events, ${received.length} requests, ${streamed.length} entries of the stream`,
    );
    expect(installation.crashes).toEqual([]);
  } finally {
    await receiver.stop();
  }
}, 240_000);
