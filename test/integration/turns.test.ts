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

  let ended = 0;
  const begun = Promise.withResolvers<void>();
  const floods = flood.map(async (id) => {
    const outcome = await here.deliver(many, 'ingest', id);
    ended += 1;
    begun.resolve();
    return outcome;
  });
  await begun.promise;
  const before = ended;
  expect(await here.deliver(single, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
  const meanwhile = ended - before;

  const ofSingle = log.flatMap((entry, index) =>
    entry.what === 'asks' && entry.tenantId === single.tenantId ? [index] : [],
  );
  // Beginning, extracting, chunking, a batch, publishing.
  expect(ofSingle).toHaveLength(5);
  for (const index of ofSingle) {
    const next = log.slice(index).find(({ what }) => what === 'begins');
    expect(next?.tenantId).toBe(single.tenantId);
  }
  // Its place was kept between its steps: but for what ran when it came, none of the others went on.
  expect(meanwhile).toBeLessThanOrEqual(1);
  expect(before + meanwhile).toBeLessThan(FLOOD);

  expect(await Promise.all(floods)).toEqual(flood.map(() => ({ type: 'done' })));
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
}, 240_000);
