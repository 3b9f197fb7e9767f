/** What a connection costs that does nothing, and 10,000 that come back at once while PostgreSQL is away. */
import { startTcpProxy } from '../support/tcp-proxy.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { startSide, turns } from './support/hub-sides.ts';
import { startInstallation } from './support/installation.ts';
import { residentOf, settled } from './support/process-stats.ts';
import { type Services, startServices } from './support/services.ts';

const IDLE = 8_000;
const STORM = 10_000;
/** The runtime collects what 8,000 handshakes have left some ten seconds after them. */
const COLLECTED_MS = 12_000;
const FLOOD = { do: 'flood', each: 2, gathered: false } as const;

async function idle(services: Services): Promise<Row> {
  await using server = await startInstallation({ ...services.env, DREAMHUB_ROLE: 'server' });
  const resident = () => settled(() => residentOf(server.pid), { windowMs: COLLECTED_MS });
  const warm = await startSide('dreamhub', server, services, Array<string>(200).fill(''));
  await warm[Symbol.asyncDispose]();
  const before = await resident();
  await using _readers = await startSide('dreamhub', server, services, Array<string>(IDLE).fill(''));
  const after = await resident();
  return {
    label: `resident for each of ${IDLE} idle connections`,
    unit: 'KB',
    values: [(after - before) / IDLE / 1_024],
    target: { atMost: 4 },
  };
}

/** PostgreSQL is cut off from the server for the whole way back, so whoever resumed did so without it. */
async function storm(services: Services): Promise<Row[]> {
  const { DATABASE_URL = '' } = services.env;
  const url = new URL(DATABASE_URL);
  const proxy = await startTcpProxy({ host: url.hostname, port: Number(url.port || 5432) });
  try {
    url.host = `127.0.0.1:${proxy.port}`;
    await using server = await startInstallation({ ...services.env, DATABASE_URL: url.href, DREAMHUB_ROLE: 'server' });
    await using side = await startSide('dreamhub', server, services, turns(STORM));
    await side.measure(FLOOD);
    await proxy.set({ type: 'half-open' });
    const { ms, resumed } = await side.reconnect();
    await side.measure(FLOOD);
    return [
      {
        label: 'resumed with PostgreSQL cut off, and heard the next events in order',
        unit: 'of them',
        values: [resumed],
        target: { atLeast: STORM },
      },
      { label: '… until the last of them', unit: 'ms', values: [ms] },
    ];
  } finally {
    await proxy.stop();
  }
}

export const benchmark: Benchmark = {
  name: 'hub-connections',
  about: 'memory of idle connections, and a storm of connections that come back',

  async run({ progress }) {
    await using services = await startServices({ persist: false });
    progress(`${IDLE} idle connections`);
    const row = await idle(services);
    progress(`${STORM} come back at once`);
    return [row, ...(await storm(services))];
  },
};
