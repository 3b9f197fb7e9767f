/**
 * Whatever happens to readers, their subscriptions, their nodes and Redis (which may also forget what it had acknowledged) while a text is written: each reader's numbers
 * are contiguous between resets, and the text that it shows in the end is the text that was written.
 */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import Redis from 'ioredis';
import { runAs } from '../../src/kernel/context.ts';
import { createDeltaWriter } from '../../src/realtime/delta-writer.ts';
import {
  append,
  completed,
  type RealtimeNode,
  recorder,
  someone,
  started,
  startNode,
  turnTopic,
} from '../support/realtime.ts';
import { rememberAll } from '../support/redis-rollback.ts';
import { startRedis, type TestRedis } from '../support/services.ts';

let redis: TestRedis;
let nodes: [RealtimeNode, RealtimeNode];
let saboteur: Redis;
beforeAll(async () => {
  redis = await startRedis();
  // So few are kept that the beginning is folded away again and again.
  const node = () => startNode({ url: redis.url, publisher: { maxLen: 16 } });
  nodes = [await node(), await node()];
  saboteur = new Redis({ path: redis.socketPath });
});
afterAll(async () => {
  saboteur.disconnect();
  for (const node of nodes) await node.stop();
  await redis.stop();
});

const READERS = 3;

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      text: fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('flush' as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('leave' as const), who: fc.nat(READERS - 1) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('come' as const), who: fc.nat(READERS - 1), where: fc.nat(1) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('cut' as const),
      what: fc.constantFrom('pubsub' as const, 'normal' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('lose' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remember' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('roll back' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('take over' as const) }) },
);

/** A client: its recorder over all its subscriptions, and how to leave the present one. */
function client() {
  const seen = recorder();
  return { seen, leave: undefined as (() => void) | undefined };
}

function assertContiguous(log: ReturnType<typeof recorder>['log']): void {
  let last = 0;
  let epoch: string | undefined;
  for (const entry of log) {
    const { epoch: of, seq } = 'reset' in entry ? entry.reset : entry.event;
    if ('event' in entry) {
      expect(seq).toBe(last + 1);
      if (epoch !== undefined) expect(of).toBe(epoch);
    }
    epoch = of;
    last = seq;
  }
}

test(
  'every reader gets every event once and in order, and shows the whole text',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), async (steps) => {
        const scope = someone();
        const topic = turnTopic();
        const publisher = nodes[0].publisher;
        const clients = Array.from({ length: READERS }, client);
        let attempt = 1;
        let rollBack = async () => {};
        const write = () =>
          runAs(scope, () => createDeltaWriter({ ...nodes[0], topic, attempt, windowMs: 1, maxBytes: 32 }));
        let writer = write();
        await append(publisher, scope, topic, attempt, started(topic, attempt));

        const come = async (who: number, where: number) => {
          const one = clients[who];
          const node = nodes[where];
          if (!one || !node || one.leave) return;
          const last = one.seen.log.at(-1);
          const position = last && ('reset' in last ? last.reset : last.event);
          const from = position ? { after: position.seq, epoch: position.epoch } : {};
          for (;;) {
            try {
              one.leave = await runAs(scope, () => node.hub.subscribe(topic, one.seen.reader, from));
              return;
            } catch (error) {
              // Redis is being cut: a client tries again.
              if (!String(error).includes('right now')) throw error;
            }
          }
        };

        for (const one of steps) {
          if (one.do === 'write') writer.write(one.text);
          else if (one.do === 'flush') await writer.flush();
          else if (one.do === 'come') await come(one.who, one.where);
          else if (one.do === 'cut') await saboteur.call('CLIENT', 'KILL', 'TYPE', one.what, 'SKIPME', 'yes');
          else if (one.do === 'lose') await saboteur.flushall();
          else if (one.do === 'remember') rollBack = await rememberAll(saboteur);
          else if (one.do === 'roll back') await rollBack();
          else if (one.do === 'leave') {
            clients[one.who]?.leave?.();
            Object.assign(clients[one.who] ?? {}, { leave: undefined });
          } else {
            const old = writer;
            attempt += 1;
            writer = write();
            await append(publisher, scope, topic, attempt, started(topic, attempt));
            old.write('too late');
            await old.flush();
            expect(old.fenced).toBe(true);
          }
        }
        for (let who = 0; who < READERS; who++) await come(who, who % 2);
        await writer.end();
        expect(await writer.finish(completed(writer.text))).toBe(true);
        for (const { seen } of clients) {
          await seen.untilType('turn.completed');
          expect(seen.text()).toBe(writer.text);
          assertContiguous(seen.log);
        }
        for (const { leave } of clients) leave?.();
      }),
      {
        numRuns: Number(Bun.env['RUNS'] ?? (Bun.env['SOAK'] ? 500 : 25)),
        ...(Bun.env['SEED'] && { seed: Number(Bun.env['SEED']) }),
      },
    );
  },
  Bun.env['SOAK'] ? 3_600_000 : 120_000,
);
