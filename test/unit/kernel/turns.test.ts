import { expect, test } from 'bun:test';
import { runAs } from '../../../src/kernel/context.ts';
import { away, breathe, createTurns, type TurnOptions } from '../../../src/kernel/turns.ts';
import { createManualClock, failureOf } from '../../support/manual-clock.ts';

const [A, B] = ['tenant-a', 'tenant-b'];
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** One place, and a log of what happened. */
function open(places = 1) {
  const clock = createManualClock();
  const waits: [string, number][] = [];
  const turns = createTurns({ clock, places, alone: places, onWaited: (lane, seconds) => waits.push([lane, seconds]) });
  const take = <T>(tenantId: string, step: () => Promise<T>, options?: TurnOptions) =>
    runAs({ tenantId, userId: 'user', traceId: 'trace' }, () => turns.take(step, options));
  /** A step that ends when told to. */
  function long(tenantId: string, options?: TurnOptions) {
    const began = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    const done = take(
      tenantId,
      async () => {
        began.resolve();
        await end.promise;
      },
      options,
    );
    return { began: began.promise, end: end.resolve, fail: end.reject, done };
  }
  return { clock, turns, take, long, waits };
}

test('answers with what the step answers, and has no place afterwards', async () => {
  const { turns, take } = open();
  expect(await take(A, async () => turns.counts().held)).toBe(1);
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('a step that throws frees its place, whether it throws at once or later', async () => {
  const { turns, take } = open();
  const atOnce = () => {
    throw new Error('at once');
  };
  expect(await failureOf(take(A, atOnce))).toMatchObject({ message: 'at once' });
  expect(await failureOf(take(A, () => settled().then(atOnce)))).toMatchObject({ message: 'at once' });
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('a step within a turn is a part of it, and does not wait for the place that it is in', async () => {
  const { take, turns } = open();
  expect(await take(A, () => take(A, async () => turns.counts().held))).toBe(1);
});

test('what goes on after its turn waits for another', async () => {
  const { take, long, turns } = open();
  let later: Promise<number> | undefined;
  const go = Promise.withResolvers<void>();
  await take(A, async () => {
    later = go.promise.then(() => take(A, async () => 1));
  });
  const other = long(B);
  await other.began;
  go.resolve();
  await settled();
  expect(turns.counts()).toEqual({ held: 1, waiting: 1 });
  other.end();
  expect(await later).toBe(1);
});

test('a wait for a turn ends with its signal, and the step never begins', async () => {
  const { long, take, turns } = open();
  const first = long(A);
  await first.began;
  const controller = new AbortController();
  let began = false;
  const waiting = failureOf(
    take(
      B,
      async () => {
        began = true;
      },
      { signal: controller.signal },
    ),
  );
  controller.abort(new Error('cancelled'));
  expect(await waiting).toMatchObject({ message: 'cancelled' });
  first.end();
  await first.done;
  expect(began).toBeFalse();
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('a breath gives the turn to a tenant that has had less, and comes back for it', async () => {
  const { clock, take } = open();
  const order: string[] = [];
  const flood = take(A, async () => {
    for (let i = 0; i < 3; i++) {
      clock.advance(5);
      order.push(`a${i}`);
      await breathe();
    }
  });
  const single = take(B, async () => void order.push('b'));
  await Promise.all([flood, single]);
  expect(order).toEqual(['a0', 'b', 'a1', 'a2']);
});

test('a breath keeps the turn where only steps of the same tenant wait', async () => {
  const { clock, take } = open();
  const order: string[] = [];
  const first = take(A, async () => {
    clock.advance(5);
    await breathe();
    order.push('first');
  });
  const second = take(A, async () => void order.push('second'));
  await Promise.all([first, second]);
  expect(order).toEqual(['first', 'second']);
});

test('a signal ends a step that waits for its turn to come back', async () => {
  const { clock, take, long, turns } = open();
  const controller = new AbortController();
  const go = Promise.withResolvers<void>();
  const flood = failureOf(
    take(
      A,
      async () => {
        await go.promise;
        clock.advance(5);
        await breathe();
      },
      { signal: controller.signal },
    ),
  );
  const single = long(B);
  go.resolve();
  await single.began;
  controller.abort(new Error('cancelled'));
  expect(await flood).toMatchObject({ message: 'cancelled' });
  single.end();
  await single.done;
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('who waits for others holds no place meanwhile, and has one again afterwards', async () => {
  const { take, turns } = open();
  const answer = Promise.withResolvers<string>();
  const first = take(A, async () => {
    const said = await away(() => answer.promise);
    return [said, turns.counts().held] as const;
  });
  // The only place is free: another tenant's step begins and ends.
  expect(await take(B, async () => 'done')).toBe('done');
  answer.resolve('vectors');
  expect(await first).toEqual(['vectors', 1]);
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('a wait for others that fails ends the step at once, though the place is taken', async () => {
  const { take, long, turns } = open();
  const answer = Promise.withResolvers<never>();
  const failed = failureOf(take(A, () => away(() => answer.promise)));
  const other = long(B);
  await other.began;
  answer.reject(new Error('429'));
  expect(await failed).toMatchObject({ message: '429' });
  other.end();
  await other.done;
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('parts of a step that wait at the same time take one place again', async () => {
  const { take, turns } = open(2);
  const answers = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const step = take(A, async () => {
    const parts = answers.map(({ promise }) => away(() => promise));
    for (const [index, { resolve }] of answers.entries()) {
      resolve();
      // The last two at once.
      if (index < 2) await parts[index];
    }
    await Promise.all(parts);
    const { held } = turns.counts();
    await Promise.all([breathe(), away(async () => {}), breathe()]);
    return held;
  });
  expect(await step).toBe(1);
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('a part that outlives its step takes nothing', async () => {
  const { take, turns } = open();
  const answer = Promise.withResolvers<void>();
  let part: Promise<void> | undefined;
  await take(A, async () => {
    part = away(() => answer.promise).then(breathe);
  });
  answer.resolve();
  await part;
  expect(turns.counts()).toEqual({ held: 0, waiting: 0 });
});

test('the background comes after the tenants, and comes', async () => {
  const { clock, take, turns } = open();
  const order: string[] = [];
  const step = (name: string) => async () => {
    order.push(name);
    clock.advance(10);
  };
  const work = [take(A, step('a'))];
  work.push(
    turns.take(step('background'), { lane: 'background' }),
    turns.take(step('background'), { lane: 'background' }),
  );
  for (let i = 0; i < 90; i++) work.push(take(A, step('a')));
  await Promise.all(work);
  const places = [...order.entries()].filter(([, name]) => name === 'background').map(([place]) => place);
  expect(places).toHaveLength(2);
  // A tenth of a tenant's share.
  expect((places[1] ?? 0) - (places[0] ?? 0)).toBeGreaterThanOrEqual(9);
  expect(places[1]).toBeLessThan(order.length - 1);
});

test('a tenant of twice the weight has two turns for one', async () => {
  const { clock, take, turns } = open();
  turns.weigh(B, 2);
  const order: string[] = [];
  const step = (name: string) => async () => {
    order.push(name);
    clock.advance(10);
  };
  await Promise.all([A, B].flatMap((tenant) => Array.from({ length: 100 }, () => take(tenant, step(tenant)))));
  // Behind what both began with.
  const ofB = order.slice(60, 90).filter((name) => name === B).length;
  expect(ofB).toBeGreaterThanOrEqual(18);
  expect(ofB).toBeLessThanOrEqual(22);
});

test('tells how long was waited, by lane', async () => {
  const { clock, long, take, turns, waits } = open();
  const first = long(A);
  await first.began;
  const second = take(B, async () => {});
  clock.advance(15);
  first.end();
  await second;
  await turns.take(async () => {}, { lane: 'background' });
  expect(waits).toEqual([
    ['ingest', 0],
    ['ingest', 0.015],
    ['background', 0],
  ]);
});

test('needs a scope, and no turn to breathe or to be away', async () => {
  const { turns } = open();
  expect(await failureOf(turns.take(async () => {}))).toMatchObject({ kind: 'internal' });
  await breathe();
  expect(await away(async () => 'there')).toBe('there');
});
