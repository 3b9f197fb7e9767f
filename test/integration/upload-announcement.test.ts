/** What an accepted upload's answer promises about the log of its task, with Redis and without. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { type Announcer, createAnnouncer } from '../../src/services/announcer.ts';
import { createUploads } from '../../src/services/uploads.ts';
import { createManualClock } from '../support/manual-clock.ts';
import { recorder } from '../support/realtime.ts';
import { createRig, type Rig } from '../support/rig.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await createRig();
});
afterAll(() => rig.close());

/** Uploads whose events pass a gate and travel through a network that a test can break, on a clock that only a test turns. */
async function behind(proxy: TcpProxy, gate = Promise.resolve()) {
  const clients = createRedisClients({ url: `redis://127.0.0.1:${proxy.port}`, logger: silentLogger });
  await clients.info();
  const base = { clients, keys: rig.keys, clock: systemClock, logger: silentLogger };
  const publisher = createEventPublisher({ ...base, ttlSeconds: 600, maxLen: 1_000 });
  const announcer = createAnnouncer({ publisher, logger: silentLogger });
  const log: Announcer['log'] = (...event) => gate.then(() => announcer.log(...event));
  const asked = Promise.withResolvers<void>();
  const manual = createManualClock();
  const clock = {
    ...manual,
    after(ms: number, fn: () => void) {
      asked.resolve();
      return manual.after(ms, fn);
    },
  };
  const uploads = createUploads({
    database: rig.database,
    blobs: rig.blobs,
    feeder: { nudge: () => {} },
    announcer: { ...announcer, log },
    control: rig.control,
    clock,
    ids: systemIds,
    metrics: rig.metrics,
    maxUploadBytes: 1_000_000,
    limits: rig.limits,
    malware: undefined,
  });
  return { uploads, clock, asked: asked.promise, close: () => clients.close() };
}

function formOf(text: string) {
  const form = new FormData();
  form.append('file', new Blob([text]), 'notes.txt');
  const response = new Response(form);
  const contentType = response.headers.get('content-type') ?? '';
  return { body: response.body, contentType, signal: new AbortController().signal };
}

describe('the answer to an upload', () => {
  test('comes once the log of its task has begun: whoever reads on from 0 gets its first event, and no reset', async () => {
    const proxy = await startTcpProxy({ path: rig.redis.socketPath });
    const gate = Promise.withResolvers<void>();
    const { uploads, asked, close } = await behind(proxy, gate.promise);
    try {
      const who = await rig.newTenant();
      let answered = false;
      const answer = rig.as(who, () => uploads.accept(formOf('a text')));
      void answer.finally(() => {
        answered = true;
      });
      await asked;
      expect(await rig.outstanding(who)).toBe(1);
      expect(answered).toBe(false);
      gate.resolve();
      const { receipt } = await answer;
      const told = recorder();
      const topic = `task:${receipt.task_id}`;
      const unsubscribe = await rig.as(who, () => rig.hub.subscribe(topic, told.reader, { after: 0 }));
      await told.until(() => told.log.length > 0);
      unsubscribe();
      expect(told.resets).toEqual([]);
      expect(told.events[0]).toMatchObject({ type: 'task.queued', seq: 1, data: { document_id: receipt.document_id } });
    } finally {
      await close();
      await proxy.stop();
    }
  });

  test.each([
    ['refuses every connection', 'refuse'],
    ['does not answer', 'half-open'],
  ] as const)('comes a moment after the commit although Redis %s', async (_, type) => {
    const proxy = await startTcpProxy({ path: rig.redis.socketPath });
    const { uploads, clock, asked, close } = await behind(proxy);
    try {
      await proxy.set({ type });
      const who = await rig.newTenant();
      const answer = rig.as(who, () => uploads.accept(formOf(`Redis ${type}`)));
      await asked;
      expect(await rig.outstanding(who)).toBe(1);
      clock.advance(100);
      expect((await answer).receipt).toMatchObject({ status: 'queued', duplicate: false });
    } finally {
      await close();
      await proxy.stop();
    }
  });
});
