import { afterAll, expect, test } from 'bun:test';
import type { HubEvent, Principal } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createEventPublisher } from '../../src/realtime/log.ts';
import { createAnnouncer } from '../../src/services/announcer.ts';
import { createTenantCounts } from '../../src/services/tenant-counts.ts';
import { eventually } from '../support/eventually.ts';
import { createRig } from '../support/rig.ts';

const rig = await createRig();
afterAll(async () => {
  await rig.close();
});

test('administrators hear what is unfinished when it changes, of their own tenant alone; members may not listen', async () => {
  const [ours, theirs] = [await rig.newTenant(), await rig.newTenant()];
  const { clients, keys, database } = rig;
  const publisher = createEventPublisher({
    clients,
    keys,
    clock: systemClock,
    logger: silentLogger,
    ttlSeconds: 600,
    maxLen: 100,
  });
  const service = createTenantCounts({
    database,
    announcer: createAnnouncer({ publisher, logger: silentLogger }),
    clock: systemClock,
    logger: silentLogger,
    everyMs: 5,
  });
  const listen = async (who: Principal) => {
    const heard: unknown[] = [];
    const reader = {
      event: ({ json }: HubEvent) => void heard.push((JSON.parse(json) as { data: unknown }).data),
      reset: () => undefined,
    };
    await rig.as(who, () => rig.hub.subscribe('tenant', reader, { role: 'admin' }));
    return heard;
  };
  const [heard, others] = [await listen(ours), await listen(theirs)];
  const listening = rig.as(ours, () =>
    rig.hub.subscribe('tenant', { event: () => undefined, reset: () => undefined }, { role: 'member' }),
  );
  await expect(listening).rejects.toMatchObject({ kind: 'forbidden' });

  await service.start();
  const last = (counts: object) => eventually(JSON.stringify(counts), () => Bun.deepEquals(heard.at(-1), counts));
  const { receipt } = await rig.upload(ours, '12345');
  await last({ tasks: 1, task_bytes: 5, turns: 0 });
  const { turn_id: turn } = await rig.as(ours, () => rig.chat.send({ content: 'what?' }));
  await last({ tasks: 1, task_bytes: 5, turns: 1 });
  await rig.deliver(ours, 'ingest', receipt.task_id);
  await last({ tasks: 0, task_bytes: 0, turns: 1 });
  await rig.deliver(ours, 'chat', turn);
  await last({ tasks: 0, task_bytes: 0, turns: 0 });
  const told = heard.length;
  await rig.upload(theirs, 'x');
  await eventually('the others hear of theirs', () => others.length === 1);
  expect(others).toEqual([{ tasks: 1, task_bytes: 1, turns: 0 }]);
  expect(heard).toHaveLength(told);
  await service.stop();
}, 60_000);
