/**
 * From the start of the process to the first 200 of `/readyz`, and what is resident once it idles. Embedded, a second
 * start finds the data of the first; distributed, PostgreSQL and Redis run already and count for nobody.
 */

import { temporaryFolder } from '../support/temporary-folder.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { startInstallation } from './support/installation.ts';
import { MB, residentOf, settled, treeResidentOf } from './support/process-stats.ts';
import { interleave } from './support/rounds.ts';
import { startServices } from './support/services.ts';

/** What the issue allows a second `make dev-up`, packages included. */
const SECOND_START_TARGET = { atMost: 8_000 };

interface Started {
  ms: number;
  own: number;
  tree: number;
}

async function start(env: Readonly<Record<string, string>>): Promise<Started> {
  await using installation = await startInstallation(env);
  const { pid, startMs } = installation;
  const tree = await settled(() => treeResidentOf(pid));
  return { ms: startMs, own: (await residentOf(pid)) / MB, tree: tree / MB };
}

function rowsOf(label: string, measured: readonly Started[], target?: Row['target']): Row[] {
  return [
    { label: `${label}: start`, unit: 'ms', values: measured.map(({ ms }) => ms), ...(target && { target }) },
    { label: `${label}: resident when idle, main process`, unit: 'MB', values: measured.map(({ own }) => own) },
    { label: `${label}: resident when idle, all its processes`, unit: 'MB', values: measured.map(({ tree }) => tree) },
  ];
}

export const benchmark: Benchmark = {
  name: 'start',
  about: 'from nothing to the first 200 of /readyz, and memory when idle, embedded and distributed',

  async run({ rounds, progress }) {
    await using services = await startServices();
    const distributed = (role: string) => () => start({ ...services.env, DREAMHUB_ROLE: role });
    progress('starting, over and over');
    const { embedded, all, server, worker } = await interleave(rounds, {
      async embedded() {
        const folder = await temporaryFolder();
        try {
          const env = { DATA_DIR: folder.path };
          return { first: await start(env), second: await start(env) };
        } finally {
          await folder.remove();
        }
      },
      all: distributed('all'),
      server: distributed('server'),
      worker: distributed('worker'),
    });
    return [
      ...rowsOf(
        'embedded, first start',
        embedded.map(({ first }) => first),
      ),
      ...rowsOf(
        'embedded, second start',
        embedded.map(({ second }) => second),
        SECOND_START_TARGET,
      ),
      ...rowsOf('distributed, role all', all),
      ...rowsOf('distributed, role server', server),
      ...rowsOf('distributed, role worker', worker),
    ];
  },
};
