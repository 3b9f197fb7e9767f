/** One room of 1,000 readers: a task of a shared document, say. Nothing is gathered on any side. */
import type { Benchmark } from './support/benchmark.ts';
import { compared, figures, measureAll, startServers } from './support/hub-sides.ts';
import { startServices } from './support/services.ts';

const READERS = 1_000;
const EVENTS = 300;
/** Those who tell by `publish` are done in a moment: more, so that it can be measured. */
const PUBLISHED_EVENTS = 3_000;
const PER_SECOND = 100;
const PACED_MS = 3_000;

export const benchmark: Benchmark = {
  name: 'hub-room',
  about: 'a room of many readers beside socket.io with its Redis adapter, and beside Bun’s publish without a log',

  async run({ rounds, progress }) {
    await using services = await startServices({ persist: false });
    await using servers = await startServers(services);
    const topics = () => Array<string>(READERS).fill(`task:${Bun.randomUUIDv7()}`);

    progress(`one room, ${READERS} readers, as fast as it goes`);
    const flooded = await measureAll(rounds, servers, services, {
      topics,
      order: (kind) => ({
        do: 'flood',
        each: kind === 'dreamhub' || kind === 'bun' ? PUBLISHED_EVENTS : EVENTS,
        gathered: false,
      }),
    });
    progress(`${PER_SECOND} events/s`);
    const paced = await measureAll(rounds, servers, services, {
      topics,
      order: () => ({ do: 'pace', perSecond: PER_SECOND, ms: PACED_MS, gathered: false }),
    });
    return [
      ...figures('flooded', flooded, ['perSecond', 'perCpuSecond']),
      ...compared(flooded, 'perSecond', 'socket.io', { atLeast: 20 }),
      ...compared(flooded, 'perSecond', 'socket.io on Bun'),
      ...compared(flooded, 'perSecond', 'bun'),
      // Readers and server share a small machine: this is what the server alone could do.
      ...compared(flooded, 'perCpuSecond', 'socket.io', { atLeast: 20 }),
      ...compared(flooded, 'perCpuSecond', 'socket.io on Bun'),
      ...compared(flooded, 'perCpuSecond', 'bun'),
      ...figures(`${PER_SECOND}/s`, paced, ['p50', 'p99', 'cpu']),
      ...compared(paced, 'cpu', 'socket.io', { atMost: 0.65 }),
      ...compared(paced, 'cpu', 'socket.io on Bun', { atMost: 0.65 }),
    ];
  },
};
