/**
 * A Redis that is replaced by another one while the old one lives on as its replica: behind a name or an address that moves, who is
 * connected stays connected, to a server that answers everything and takes no writes.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import Redis from 'ioredis';
import { inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { expectWhole } from '../support/chaos-whole.ts';
import { eventually } from '../support/eventually.ts';
import { register } from '../support/person.ts';
import { startRedis, type TestRedis } from '../support/services.ts';

const RECOVERY_MS = 60_000;
const DOCUMENTS = 4;

let installation: Installation;
let next: TestRedis;
beforeAll(async () => {
  [installation, next] = await Promise.all([startInstallation({ workers: 1 }), startRedis()]);
}, 120_000);
afterAll(async () => {
  await installation?.stop();
  await next?.stop();
});

test('is followed by everybody, and whoever listens goes on hearing', async () => {
  const { sql, redis, network, server, workers } = installation;
  const person = await register(installation.url);
  const socket = await person.socket();
  await person.learn(socket, inputOf('failover', 0, 1).content, 'before.md');

  // Nobody tells those who are connected.
  await redis.call('REPLICAOF', '127.0.0.1', '1');
  network.redis.lead({ path: next.socketPath });
  const inputs = Array.from({ length: DOCUMENTS }, (_, number) => inputOf('failover', number + 1, 2));
  const accepted = await Promise.all(inputs.map((input) => person.upload(input.content, input.filename)));
  expect(accepted.map(({ status }) => status)).toEqual(inputs.map(() => 202));
  const ids = accepted.map(({ body }) => body.task_id);
  await eventually(
    'all have succeeded',
    async () =>
      (await sql`select 1 from tasks where id = any(${ids}::uuid[]) and status = 'succeeded'`).length === ids.length,
    RECOVERY_MS,
  );
  for (const [index, input] of inputs.entries())
    await expectWhole(installation, accepted[index]?.body.document_id ?? '', input);

  const later = await person.learn(socket, inputOf('failover', DOCUMENTS + 1, 1).content, 'after.md');
  expect(later.end.type).toBe('task.succeeded');
  socket.close();
  const ready = (url: string) =>
    fetch(`${url}/readyz`).then(async (response) => ((await response.json()) as { status: string }).status);
  for (const { name, url } of [server, ...workers])
    await eventually(`${name} is well`, async () => (await ready(url())) === 'ok', RECOVERY_MS);
  const admin = new Redis({ path: next.socketPath });
  try {
    await eventually('the new one holds no work', async () => (await admin.keys('dh:*:q:*')).length === 0);
  } finally {
    admin.disconnect();
  }
  expect(installation.crashes).toEqual([]);
}, 200_000);
