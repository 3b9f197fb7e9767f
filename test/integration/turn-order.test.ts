/** Questions of one conversation that come by servers whose clocks differ. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { handOutNext } from '../../src/repositories/backlog.ts';
import { createAnnouncer } from '../../src/services/announcer.ts';
import { createChat } from '../../src/services/chat.ts';
import { createRig, type Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await createRig();
});
afterAll(() => rig?.close());

const BEHIND_MS = 600_000;

/** A server whose clock is ten minutes behind. */
function serverBehind() {
  const { database, hub, control, clients, keys } = rig;
  const publisher = createEventPublisher({
    clients,
    keys,
    clock: systemClock,
    logger: silentLogger,
    ttlSeconds: 600,
    maxLen: 1_000,
  });
  return createChat({
    database,
    hub,
    announcer: createAnnouncer({ publisher, logger: silentLogger }),
    feeder: { nudge: () => {} },
    control,
    clock: systemClock,
    ids: { uuid: () => Bun.randomUUIDv7('hex', Date.now() - BEHIND_MS) },
    budgets: { admitTurn: async () => undefined },
  });
}

test('are answered in the order in which they came, each after the one before', async () => {
  const who = await rig.newTenant();
  const behind = serverBehind();
  const conversation = await rig.as(who, () => rig.conversations.create({}));
  const ask = (chat: typeof behind, content: string) =>
    rig.as(who, () => chat.send({ conversationId: conversation.id, content })).then(({ turn_id }) => turn_id);
  const asked = [await ask(rig.chat, 'first'), await ask(behind, 'second'), await ask(behind, 'third')];
  const answered: string[] = [];
  for (const _ of asked) {
    const { jobs } = await rig.database.system((sql) => handOutNext(sql, 'chat', who.tenantId, 10));
    expect(jobs).toHaveLength(1);
    const [job] = jobs;
    if (!job) break;
    // What came later must not begin before it.
    for (const later of asked.slice(answered.length + 1))
      expect((await rig.deliver(who, 'chat', later)).type).toBe('superseded');
    await rig.database.system(
      (sql) =>
        sql`update turns set handed_out_at = null where tenant_id = ${who.tenantId} and status = 'queued' and id <> ${job.id}`,
    );
    expect((await rig.deliver(who, 'chat', job.id)).type).toBe('done');
    answered.push(job.id);
  }
  expect(answered).toEqual(asked);
});
