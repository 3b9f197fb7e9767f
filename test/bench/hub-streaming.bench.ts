/**
 * How many turns at 30 tokens/s reach their readers: one worker process, one server process, one Redis, and the readers on
 * the same machine. Where the way to Redis and back takes longer than the pause between tokens, a turn's writer sends several
 * at once, so what grows with the number of turns is how late a token comes.
 */
import type { Benchmark, Row } from './support/benchmark.ts';
import { startSide, turns } from './support/hub-sides.ts';
import { startInstallation } from './support/installation.ts';
import { startServices } from './support/services.ts';

const TURNS = [250, 500, 1_000, 2_000, 3_000, 5_000];
const TOKENS_PER_SECOND = 30;
const PACED_MS = 4_000;
/** By how much the last token may be later than it was due: more, and a backlog grows. */
const KEEPS_UP_MS = 500;

export const benchmark: Benchmark = {
  name: 'hub-streaming',
  about: `turns at ${TOKENS_PER_SECOND} tokens/s, more and more of them`,

  async run({ progress }) {
    await using services = await startServices({ persist: false });
    await using server = await startInstallation({ ...services.env, DREAMHUB_ROLE: 'server' });
    const rows: Row[] = [];
    let most = 0;
    let keptUp = true;
    for (const count of TURNS) {
      progress(`${count} turns at ${TOKENS_PER_SECOND} tokens/s`);
      await using side = await startSide('dreamhub', server, services, turns(count));
      await side.measure({ do: 'flood', each: 20, gathered: true });
      const order = { do: 'pace', perSecond: TOKENS_PER_SECOND, ms: PACED_MS, gathered: true } as const;
      const { ms, p50, p99, perFrame, cpu, allCpu, tokens } = await side.measure(order);
      const late = Math.max(0, ms - PACED_MS);
      keptUp &&= late <= KEEPS_UP_MS;
      if (keptUp) most = count;
      const cores = (used: number) => (used * tokens) / (ms * 1_000);
      rows.push(
        { label: `${count} turns: producer to reader, p50`, unit: 'ms', values: [p50] },
        { label: `${count} turns: producer to reader, p99`, unit: 'ms', values: [p99] },
        { label: `${count} turns: the last token is late by`, unit: 'ms', values: [late] },
        { label: `${count} turns: tokens a frame`, unit: 'ratio', values: [perFrame] },
        { label: `${count} turns: cores that the server used`, unit: 'ratio', values: [cores(cpu)] },
        { label: `${count} turns: with producer and Redis`, unit: 'ratio', values: [cores(allCpu)] },
      );
    }
    const label = `most turns whose last token is at most ${KEEPS_UP_MS} ms late`;
    return [{ label, unit: 'of them', values: [most], target: { atLeast: 5_000 } }, ...rows];
  },
};
