/**
 * 1,000 turns with a reader each. A worker gathers the tokens of a turn (`delta-writer.ts`): the first leaves at once, what
 * follows within 20 ms or 256 bytes goes together. So DreamHub is flooded through that writer, while the peers send a
 * message a token, as their users do; every token of every reader is counted and its order checked. What gathering
 * contributes is to be seen beside it: the same with an event a token on all sides.
 */
import type { Benchmark, Row } from './support/benchmark.ts';
import { column, compared, figures, measureAll, startServers, turns } from './support/hub-sides.ts';
import { startServices } from './support/services.ts';

const TURNS = 1_000;
const TOKENS = 40;
/** Gathered tokens are so many more a second that fewer would be over before they are measured. */
const GATHERED_TOKENS = 400;
const QUIET_PER_SECOND = 5;
const MODEL_PER_SECOND = 30;
const PACED_MS = 3_000;

export const benchmark: Benchmark = {
  name: 'hub-turns',
  about: 'turns of one reader each beside socket.io with its Redis adapter, and beside Bun’s publish without a log',

  async run({ rounds, progress }) {
    // No append-only file: the disk's share of a log would be measured on one side alone.
    await using services = await startServices({ persist: false });
    await using servers = await startServers(services);
    const topics = () => turns(TURNS);
    const rows: Row[] = [];

    progress(`${TURNS} turns, as fast as it goes`);
    const flooded = await measureAll(rounds, servers, services, {
      topics,
      order: (kind) => ({ do: 'flood', each: kind === 'dreamhub' ? GATHERED_TOKENS : TOKENS, gathered: true }),
    });
    rows.push(
      ...figures('flooded', flooded, ['perSecond', 'perFrame', 'cpu', 'allCpu']),
      ...compared(flooded, 'perSecond', 'bun', { atLeast: 0.6 }),
      ...compared(flooded, 'perSecond', 'socket.io', { atLeast: 5 }),
      ...compared(flooded, 'perSecond', 'socket.io on Bun', { atLeast: 5 }),
      ...compared(flooded, 'cpu', 'socket.io', { atMost: 0.25 }),
      ...compared(flooded, 'cpu', 'socket.io on Bun', { atMost: 0.25 }),
    );

    progress('the same, an event a token');
    const single = await measureAll(rounds, servers, services, {
      topics,
      order: () => ({ do: 'flood', each: TOKENS, gathered: false }),
    });
    rows.push(
      ...figures('an event a token', single, ['perSecond', 'cpu', 'allCpu']),
      ...compared(single, 'perSecond', 'bun'),
      ...compared(single, 'perSecond', 'socket.io'),
      ...compared(single, 'perSecond', 'socket.io on Bun'),
    );

    for (const perSecond of [QUIET_PER_SECOND, MODEL_PER_SECOND]) {
      progress(`${perSecond} tokens/s each`);
      const paced = await measureAll(rounds, servers, services, {
        topics,
        order: () => ({ do: 'pace', perSecond, ms: PACED_MS, gathered: true }),
      });
      rows.push(...figures(`${perSecond}/s each`, paced, ['p50', 'p99', 'perFrame', 'cpu', 'allCpu']));
      rows.push(...compared(paced, 'cpu', 'socket.io'), ...compared(paced, 'cpu', 'socket.io on Bun'));
      if (perSecond !== QUIET_PER_SECOND) continue;
      // So slow that nothing is gathered: what is left is DreamHub's own.
      const bun = column(paced, 'bun', 'p50');
      const added = column(paced, 'dreamhub', 'p50').map((p50, round) => p50 - (bun[round] ?? Number.NaN));
      rows.push({ label: '… DreamHub over Bun: added p50', unit: 'ms', values: added, target: { atMost: 1 } });
    }
    return rows;
  },
};
