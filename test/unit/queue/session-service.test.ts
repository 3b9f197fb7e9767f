import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createSessionService } from '../../../src/queue/session-service.ts';

test('however starts and stops come, one session is open at a time, and the last call decides', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.boolean(), { maxLength: 20 }),
      fc.array(fc.boolean(), { maxLength: 20 }),
      async (starts, failures) => {
        let open = 0;
        let opened = 0;
        const service = createSessionService({
          name: 'test',
          async open() {
            if (failures[opened++] === true) throw new Error('it does not open');
            open++;
            expect(open).toBe(1);
            return {};
          },
          async close() {
            open--;
          },
        });
        await Promise.allSettled(starts.map((isStart) => (isStart ? service.start() : service.stop())));
        if (starts.at(-1) !== true) expect(open).toBe(0);
        expect(service.current() !== undefined).toBe(open === 1);
        await service.stop();
        expect(open).toBe(0);
      },
    ),
  );
});

test('a start that failed leaves it idle, to be started again', async () => {
  let fails = true;
  const service = createSessionService({
    name: 'test',
    async open() {
      if (fails) throw new Error('not yet');
      return 'open';
    },
    close: async () => undefined,
  });
  await expect(service.start()).rejects.toThrow('not yet');
  await service.stop();
  fails = false;
  await service.start();
  expect(service.current()).toBe('open');
});
