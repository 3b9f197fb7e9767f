import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createFairPlaces, type FairPlaces, type Place } from '../../../src/kernel/fair-places.ts';
import { createManualClock, failureOf, type ManualClock } from '../../support/manual-clock.ts';

const PATIENCE_MS = 20;
const KEEP_MS = 2;
const CREDIT = { creditMs: 5 };

interface Bench {
  clock: ManualClock;
  gate: FairPlaces;
  /** Names of flows in the order in which they got places, and of those that hold one. */
  given: string[];
  held: Map<string, Place[]>;
  /** Asks for a place and notes it down once it is given. */
  ask(flow: string, claim?: Parameters<FairPlaces['enter']>[1]): void;
  /** Gives the oldest place of a flow back. */
  end(flow: string, more?: boolean): void;
  settled(): Promise<void>;
}

function open(places: number, options: { patienceMs?: number; alone?: number } = {}): Bench {
  const clock = createManualClock();
  const gate = createFairPlaces({ places, clock, keepMs: KEEP_MS, patienceMs: PATIENCE_MS, ...options });
  const given: string[] = [];
  const held = new Map<string, Place[]>();
  return {
    clock,
    gate,
    given,
    held,
    ask(flow, claim) {
      void gate.enter(flow, claim).then((place) => {
        given.push(flow);
        held.set(flow, [...(held.get(flow) ?? []), place]);
      });
    },
    end(flow, more) {
      const place = held.get(flow)?.shift();
      if (!place) throw new Error(`${flow} holds no place`);
      gate.leave(place, more);
    },
    // Places are given at once, in promises.
    settled: () => new Promise((resolve) => setImmediate(resolve)),
  };
}

test('gives no more places than there are', async () => {
  const { ask, given, settled, gate } = open(2);
  for (const flow of ['a', 'b', 'c']) ask(flow);
  await settled();
  expect(given).toEqual(['a', 'b']);
  expect([gate.held(), gate.waiting()]).toEqual([2, 1]);
});

test('a newcomer is next, however many of another flow wait', async () => {
  const { ask, end, given, clock, settled } = open(1);
  for (let i = 0; i < 10; i++) ask('flood');
  await settled();
  clock.advance(5);
  ask('single', CREDIT);
  end('flood');
  await settled();
  expect(given).toEqual(['flood', 'single']);
});

test('serves two flows that always wait in turn, whatever one step of them costs', async () => {
  const { ask, end, clock, settled, given } = open(1);
  const used: Record<string, number> = { short: 0, long: 0 };
  const cost: Record<string, number> = { short: 2, long: 10 };
  for (const flow of ['short', 'long']) for (let i = 0; i < 3; i++) ask(flow);
  await settled();
  for (let i = 0; i < 200; i++) {
    const flow = given.at(-1) ?? '';
    clock.advance(cost[flow] ?? 0);
    used[flow] = (used[flow] ?? 0) + (cost[flow] ?? 0);
    ask(flow);
    end(flow);
    await settled();
  }
  expect(Math.abs((used['short'] ?? 0) - (used['long'] ?? 0))).toBeLessThanOrEqual(10);
});

test('a flow of twice the weight has twice the time', async () => {
  const { ask, end, clock, settled, given } = open(1);
  const weights: Record<string, number> = { light: 1, heavy: 2 };
  const used: Record<string, number> = { light: 0, heavy: 0 };
  for (const flow of ['light', 'heavy']) ask(flow, { weight: weights[flow] ?? 1 });
  await settled();
  for (let i = 0; i < 300; i++) {
    const flow = given.at(-1) ?? '';
    clock.advance(3);
    used[flow] = (used[flow] ?? 0) + 3;
    ask(flow, { weight: weights[flow] ?? 1 });
    end(flow);
    await settled();
  }
  expect((used['heavy'] ?? 0) / (used['light'] ?? 1)).toBeCloseTo(2, 1);
});

test('a flow that was quiet begins behind the clock by its credit and no more', async () => {
  const { ask, end, clock, settled, given } = open(1);
  const claim = { creditMs: 30 };
  for (let i = 0; i < 20; i++) ask('flood', claim);
  await settled();
  clock.advance(1_000);
  for (let i = 0; i < 20; i++) ask('single', claim);
  end('flood');
  await settled();
  for (let i = 0; i < 8; i++) {
    clock.advance(10);
    end(given.at(-1) ?? '');
    await settled();
  }
  // Thirty milliseconds are three steps before the flood's next, and from then on one for one.
  expect(given.slice(1, 4)).toEqual(['single', 'single', 'single']);
  const flood = given.slice(4).filter((flow) => flow === 'flood').length;
  expect(Math.abs(2 * flood - given.slice(4).length)).toBeLessThanOrEqual(2);
});

test('nobody is passed over for ever, though newcomers with credit come without end', async () => {
  const { ask, end, clock, settled, given } = open(1);
  ask('old');
  await settled();
  clock.advance(100);
  ask('old');
  ask('new 0', { creditMs: 50 });
  end('old');
  await settled();
  for (let i = 1; i < 1_000 && given.filter((flow) => flow === 'old').length < 2; i++) {
    ask(`new ${i}`, { creditMs: 50 });
    clock.advance(10);
    end(given.at(-1) ?? '');
    await settled();
  }
  expect(given.filter((flow) => flow === 'old')).toHaveLength(2);
});

test('a wait that is aborted rejects with its reason and leaves nothing', async () => {
  const { ask, end, gate, given, settled } = open(1);
  ask('a');
  await settled();
  const controller = new AbortController();
  const failure = failureOf(gate.enter('b', { signal: controller.signal }));
  ask('c');
  controller.abort(new Error('cancelled'));
  expect(await failure).toMatchObject({ message: 'cancelled' });
  expect(gate.waiting()).toBe(1);
  end('a');
  await settled();
  expect(given).toEqual(['a', 'c']);
  end('c');
  expect([gate.held(), gate.waiting()]).toEqual([0, 0]);
  expect(await failureOf(gate.enter('b', { signal: controller.signal }))).toMatchObject({ message: 'cancelled' });
  expect(gate.held()).toBe(0);
});

test('leaving twice frees one place', async () => {
  const { gate } = open(1);
  const first = await gate.enter('a');
  gate.leave(first);
  const second = await gate.enter('b');
  gate.leave(first);
  expect(gate.held()).toBe(1);
  gate.leave(second);
  expect(gate.held()).toBe(0);
});

test('one flow alone may hold more, until another is here', async () => {
  const { ask, end, settled, given, clock } = open(2, { alone: 4 });
  for (let i = 0; i < 9; i++) ask('flood');
  await settled();
  expect(given).toHaveLength(4);
  clock.advance(1);
  ask('single', CREDIT);
  for (let i = 0; i < 2; i++) end('flood');
  await settled();
  expect(given).toHaveLength(4);
  end('flood');
  await settled();
  expect(given.slice(4)).toEqual(['single']);
  end('flood');
  await settled();
  expect(given.slice(4)).toEqual(['single', 'flood']);
  end('single');
  await settled();
  expect(given.slice(4)).toEqual(['single', 'flood', 'flood', 'flood', 'flood']);
});

test('is wanted once somebody waits who has moved less, and not before', async () => {
  const { ask, gate, clock, settled, held } = open(1, { patienceMs: 1e6 });
  ask('a');
  await settled();
  const place = held.get('a')?.[0] as Place;
  clock.advance(5);
  expect(gate.isWanted(place)).toBeFalse();
  ask('a');
  expect(gate.isWanted(place)).toBeFalse();
  ask('b');
  clock.advance(1);
  expect(gate.isWanted(place)).toBeTrue();
});

test('a place is kept for the step that follows, for a moment', async () => {
  const { ask, end, clock, settled, given } = open(1);
  ask('flood');
  await settled();
  clock.advance(10);
  ask('single', CREDIT);
  end('flood');
  ask('flood');
  await settled();
  clock.advance(1);
  end('single', true);
  await settled();
  expect(given).toEqual(['flood', 'single']);
  ask('single');
  await settled();
  expect(given).toEqual(['flood', 'single', 'single']);
  end('single', true);
  clock.advance(KEEP_MS);
  await settled();
  expect(given.at(-1)).toBe('flood');
});

test('a kept place goes at once to a flow that has moved less', async () => {
  const { ask, end, clock, settled, given, gate } = open(1);
  ask('busy');
  await settled();
  clock.advance(50);
  ask('other', CREDIT);
  end('busy', true);
  await settled();
  expect(given).toEqual(['busy', 'other']);
  expect(gate.held()).toBe(1);
});

test('a holder that does not breathe lends its place, once for each place that there is', async () => {
  const { ask, clock, settled, given, gate, held, end } = open(1);
  ask('long');
  await settled();
  ask('single');
  clock.advance(PATIENCE_MS - 1);
  await settled();
  expect(given).toEqual(['long']);
  clock.advance(1);
  await settled();
  expect(given).toEqual(['long', 'single']);
  ask('third');
  clock.advance(10 * PATIENCE_MS);
  await settled();
  expect(gate.held()).toBe(2);
  expect(gate.isWanted(held.get('long')?.[0] as Place)).toBeTrue();
  end('single');
  await settled();
  expect(given).toEqual(['long', 'single', 'third']);
  end('long');
  end('third');
  expect(gate.held()).toBe(0);
});

test('a flow does not lend to itself', async () => {
  const { ask, clock, settled, given } = open(1);
  ask('long');
  await settled();
  ask('long');
  clock.advance(100 * PATIENCE_MS);
  await settled();
  expect(given).toEqual(['long']);
});

test('a place is kept for who is expected, and others make room as their steps end', async () => {
  const { ask, end, clock, settled, given, gate } = open(2);
  for (let i = 0; i < 5; i++) ask('flood');
  await settled();
  clock.advance(10);
  gate.expect('single', 100, CREDIT);
  expect(gate.held()).toBe(3);
  end('flood');
  await settled();
  expect(given).toEqual(['flood', 'flood']);
  ask('single', CREDIT);
  await settled();
  expect(given).toEqual(['flood', 'flood', 'single']);
  end('flood');
  await settled();
  expect(given).toEqual(['flood', 'flood', 'single', 'flood']);
});

test('who is expected and does not come, or has had more than the others, keeps nobody waiting', async () => {
  const { ask, end, clock, settled, given, gate } = open(1);
  ask('flood');
  await settled();
  clock.advance(10);
  gate.expect('late', 100, CREDIT);
  gate.expect('late', 100, CREDIT);
  ask('flood');
  end('flood');
  clock.advance(99);
  await settled();
  // Its five milliseconds are used up, by what was kept for it.
  expect(given).toEqual(['flood', 'flood']);
  gate.expect('gone', 100, { creditMs: 1e6 });
  ask('flood');
  end('flood');
  clock.advance(99);
  await settled();
  expect(given).toHaveLength(2);
  clock.advance(1);
  await settled();
  expect(given).toHaveLength(3);
});

test('nothing is kept where nobody else is, nor for a flow at work', async () => {
  const { ask, settled, gate } = open(1);
  gate.expect('a', 100);
  expect(gate.held()).toBe(0);
  ask('a');
  await settled();
  gate.expect('a', 100);
  expect(gate.held()).toBe(1);
});

type Step =
  | { type: 'ask'; flow: number; more: boolean }
  | { type: 'end'; which: number }
  | { type: 'abort'; which: number }
  | { type: 'expect'; flow: number }
  | { type: 'pass'; ms: number };

const FLOWS = [1, 1, 2, 0.5] as const;
const MOST_MS = 30;

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant('ask' as const), flow: fc.nat(3), more: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('end' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('abort' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('expect' as const), flow: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.nat(MOST_MS) }) },
);

test('whatever happens: within bounds, no place lost, nobody waits beside a free place, everybody comes in the end', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 3 }), async (steps, places) => {
      const clock = createManualClock();
      const gate = createFairPlaces({ places, clock, keepMs: KEEP_MS, patienceMs: PATIENCE_MS });
      const settled = () => new Promise((resolve) => setImmediate(resolve));
      const held: { place: Place; more: boolean }[] = [];
      const waits = new Set<AbortController>();
      for (const action of steps) {
        if (action.type === 'ask') {
          const controller = new AbortController();
          waits.add(controller);
          void gate
            .enter(`${action.flow}`, { weight: FLOWS[action.flow] ?? 1, creditMs: 20, signal: controller.signal })
            .then((place) => held.push({ place, more: action.more }))
            .catch(() => undefined)
            .finally(() => waits.delete(controller));
        } else if (action.type === 'end') {
          const [one] = held.splice(action.which % Math.max(1, held.length), 1);
          if (one) gate.leave(one.place, one.more);
        } else if (action.type === 'abort') {
          [...waits][action.which % Math.max(1, waits.size)]?.abort(new Error('cancelled'));
        } else if (action.type === 'expect') gate.expect(`${action.flow}`, 100, { weight: FLOWS[action.flow] ?? 1 });
        else clock.advance(action.ms);
        await settled();
        expect(gate.held()).toBeLessThanOrEqual(2 * places);
        expect(gate.waiting()).toBe(waits.size);
        if (gate.waiting() > 0) expect(gate.held()).toBeGreaterThanOrEqual(places);
      }
      for (let i = 0; i < 1_000 && (held.length > 0 || waits.size > 0); i++) {
        clock.advance(KEEP_MS);
        for (const { place } of held.splice(0)) gate.leave(place);
        await settled();
      }
      clock.advance(100);
      expect([gate.held(), gate.waiting(), waits.size]).toEqual([0, 0, 0]);
    }),
    { numRuns: 200 },
  );
});

test('flows that always wait get time by their weights, to within what one step and one credit cost', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: MOST_MS }), { minLength: 150, maxLength: 150 }),
      fc.integer({ min: 1, max: 2 }),
      async (costs, places) => {
        const clock = createManualClock();
        const gate = createFairPlaces({ places, clock, keepMs: KEEP_MS, patienceMs: 1e9 });
        const settled = () => new Promise((resolve) => setImmediate(resolve));
        const used = FLOWS.map(() => 0);
        const held: { place: Place; flow: number; since: number }[] = [];
        const ask = (flow: number) =>
          void gate
            .enter(`${flow}`, { weight: FLOWS[flow] ?? 1, creditMs: 20 })
            .then((place) => held.push({ place, flow, since: clock.now() }));
        // As many wait of each as there are places, so that a flow is never out of work.
        for (const flow of FLOWS.keys()) for (let i = 0; i <= places; i++) ask(flow);
        await settled();
        for (const cost of costs) {
          clock.advance(cost);
          const one = held.shift();
          if (!one) throw new Error('nobody holds a place');
          used[one.flow] = (used[one.flow] ?? 0) + (clock.now() - one.since);
          ask(one.flow);
          gate.leave(one.place);
          await settled();
        }
        const now = clock.now();
        for (const { flow, since } of held) used[flow] = (used[flow] ?? 0) + (now - since);
        const shares = used.map((ms, flow) => ms / (FLOWS[flow] ?? 1));
        // A step lasts for as many costs as there are places, and a flow may hold all of them.
        const bound = 2 * ((places * places * MOST_MS) / 0.5) + 20;
        expect(Math.max(...shares) - Math.min(...shares)).toBeLessThanOrEqual(bound);
      },
    ),
    { numRuns: 100 },
  );
});
