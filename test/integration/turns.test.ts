/** Ingestion in turns: with one place, whose step is next. */
import { afterAll, expect, test } from 'bun:test';
import { systemClock } from '../../src/kernel/clock.ts';
import { currentScope } from '../../src/kernel/context.ts';
import { createTurns, type TurnOptions, type Turns } from '../../src/kernel/turns.ts';
import { createRig, linesOf, type Rig } from '../support/rig.ts';

const FLOOD = 50;

/** Time passes by being looked at, so that the order is that of the steps and not of this machine's load. */
function createTurnsOfOne(): { turns: Turns; log: { what: 'asks' | 'begins'; tenantId: string }[] } {
  let looks = 0;
  const inner = createTurns({
    places: 1,
    alone: 1,
    clock: { ...systemClock, now: () => looks++, after: () => () => {} },
  });
  const log: { what: 'asks' | 'begins'; tenantId: string }[] = [];
  const take = <T>(step: () => Promise<T>, options?: TurnOptions) => {
    const { tenantId } = currentScope();
    log.push({ what: 'asks', tenantId });
    return inner.take(() => {
      log.push({ what: 'begins', tenantId });
      return step();
    }, options);
  };
  return { turns: { ...inner, take }, log };
}

let rig: Rig | undefined;
afterAll(() => rig?.close());

test("a single document's steps are next in turn beside fifty of another tenant", async () => {
  const { turns, log } = createTurnsOfOne();
  rig = await createRig({ turns, leaseMs: 600_000 });
  const here = rig;
  const [many, single] = [await here.newTenant(), await here.newTenant()];
  const flood = [];
  for (let i = 0; i < FLOOD; i++) flood.push((await here.upload(many, linesOf(3, `flood ${i}`))).receipt.task_id);
  const { receipt } = await here.upload(single, linesOf(3, 'single'));

  const begun = Promise.withResolvers<void>();
  const floods = flood.map(async (id) => {
    const outcome = await here.deliver(many, 'ingest', id);
    begun.resolve();
    return outcome;
  });
  await begun.promise;
  expect(await here.deliver(single, 'ingest', receipt.task_id)).toEqual({ type: 'done' });

  const ofSingle = log.flatMap((entry, index) =>
    entry.what === 'asks' && entry.tenantId === single.tenantId ? [index] : [],
  );
  // Beginning, extracting, chunking, a batch, publishing.
  expect(ofSingle).toHaveLength(5);
  // Others go on while it waits for the database; when it comes back, none of them begins before it.
  for (const index of ofSingle) {
    const next = log.slice(index).find(({ what }) => what === 'begins');
    expect(next?.tenantId).toBe(single.tenantId);
  }

  expect(await Promise.all(floods)).toEqual(flood.map(() => ({ type: 'done' })));
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
}, 240_000);
