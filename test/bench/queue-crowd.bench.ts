/**
 * A single document beside another tenant's ten thousand: a whole DreamHub in one process with its built-in embeddings, asked
 * from outside, from the upload to the pushed end of its task.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import postgres from 'postgres';
import { runAs } from '../../src/kernel/context.ts';
import { originalKey } from '../../src/storage/blob-keys.ts';
import { type Person, register } from '../support/person.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { startInstallation } from './support/installation.ts';
import { type Services, startServices } from './support/services.ts';

const CROWD = 10_000;
const SINGLES = 20;
const WARM_UP = 20;
/** Documents of the crowd that are done before it counts as under way. */
const UNDER_WAY = 8;
const UNDISTURBED_MS = 2_000;
const PATIENCE_MS = 60_000;

/** Some pages of words that no other document has. */
function contentOf(name: string): string {
  const words = Array.from({ length: 300 }, (_, i) => `${name}${i % 7} word${i}`);
  return `# ${name}\n\n${words.join(' ')}\n`;
}

/** Uploaded long ago, all but the upload: nobody waits for ten thousand requests. */
async function addCrowd({ database, folder }: Services, { session }: Person): Promise<void> {
  const scope = { tenantId: session.tenant.id, userId: session.user.id, traceId: '0' };
  const ids = Array.from({ length: CROWD }, () => Bun.randomUUIDv7());
  for (const id of ids) {
    const path = join(
      folder,
      'blobs',
      'blobs',
      runAs(scope, () => originalKey(id)),
    );
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, contentOf(id));
  }
  const sql = postgres(database.adminUrl, { max: 1 });
  try {
    await sql.begin(async (tx) => {
      const { tenantId, userId } = scope;
      await tx`insert into documents (tenant_id, id, owner_id, visibility, title, filename, media_type, size, sha256, source_type, task_id)
        select ${tenantId}, id, ${userId}, 'tenant', 'crowd', 'crowd.md', 'text/markdown', 1, sha256(id::text::bytea), 'upload', id
        from unnest(${ids}::uuid[]) id`;
      await tx`insert into tasks (tenant_id, id, kind, document_id, user_id, document_version, size)
        select ${tenantId}, id, 'ingest', id, ${userId}, 1, 1 from unnest(${ids}::uuid[]) id`;
      await tx`update tenant_load set outstanding = outstanding + ${CROWD}, outstanding_bytes = outstanding_bytes + ${CROWD}
        where tenant_id = ${tenantId}`;
    });
  } finally {
    await sql.end();
  }
}

/** The crowd as seen from its rows. */
function watch({ database }: Services, { session }: Person) {
  const sql = postgres(database.adminUrl, { max: 1 });
  const tenantId = session.tenant.id;

  /** How many have succeeded, and how many may be worked on now; throws where one did not succeed. */
  async function count(): Promise<{ done: number; out: number }> {
    const [row] = await sql<{ done: number; out: number; bad: number }[]>`
      select count(*) filter (where status = 'succeeded')::int as done,
        count(*) filter (where status = 'running' or status = 'queued' and handed_out_at is not null)::int as out,
        count(*) filter (where status in ('failed', 'dead'))::int as bad
      from tasks where tenant_id = ${tenantId}`;
    if (!row || row.bad > 0) throw new Error(`${row?.bad} documents of the crowd failed`);
    return row;
  }

  async function until(what: string, holds: (now: { done: number; out: number }) => boolean): Promise<void> {
    for (const started = performance.now(); !holds(await count()); await Bun.sleep(20)) {
      if (performance.now() - started > PATIENCE_MS) throw new Error(`The crowd was not ${what}.`);
    }
  }

  /** Those that are not handed out yet become due then. */
  const putOff = (until: string) => sql`
    update tasks set run_at = now() + ${until}::interval
    where tenant_id = ${tenantId} and status = 'queued' and handed_out_at is null`;

  return {
    count,
    /** Resolves once nothing of the crowd is worked on. */
    async pause() {
      await putOff('1 hour');
      await until('paused', ({ out }) => out === 0);
    },
    /** Resolves once it is under way again. */
    async resume() {
      const { done } = await count();
      await putOff('0');
      await until('begun', (now) => now.done >= done + UNDER_WAY);
    },
    [Symbol.asyncDispose]: () => sql.end(),
  };
}

/** Milliseconds, one upload after the other. */
async function learnMany(person: Person, count: number, name: string): Promise<number[]> {
  const socket = await person.socket();
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    const { end } = await person.learn(socket, contentOf(`${name}n${i}`), `${name}${i}.md`);
    if (end.type !== 'task.succeeded') throw new Error(`a single document ended as ${end.type}`);
    times.push(performance.now() - started);
  }
  socket.close();
  return times;
}

/** Documents a second of the crowd while something else goes on. */
async function rateDuring(crowd: ReturnType<typeof watch>, other: () => Promise<void>): Promise<number> {
  const before = await crowd.count();
  const started = performance.now();
  await other();
  const after = await crowd.count();
  return ((after.done - before.done) * 1_000) / (performance.now() - started);
}

const percentile = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN;

/** Alone and beside by turns, so that whatever else this machine does falls on both. */
async function crowd({ rounds }: { rounds: number }): Promise<Row[]> {
  await using services = await startServices();
  await using installation = await startInstallation(services.env);
  const [single, many] = [await register(installation.address), await register(installation.address)];
  await learnMany(single, WARM_UP, 'warm');
  await addCrowd(services, many);
  await using others = watch(services, many);
  const [alone, beside]: [number[], number[]] = [[], []];
  const [rates, undisturbed]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    await others.pause();
    alone.push(...(await learnMany(single, SINGLES, `alone${round}`)));
    await others.resume();
    rates.push(
      await rateDuring(others, async () => void beside.push(...(await learnMany(single, SINGLES, `beside${round}`)))),
    );
    undisturbed.push(await rateDuring(others, () => Bun.sleep(UNDISTURBED_MS)));
  }
  const ratio = (share: number) => percentile(beside, share) / percentile(alone, share);
  return [
    { label: 'a single document alone, p95', unit: 'ms', values: [percentile(alone, 0.95)] },
    { label: '… p50', unit: 'ms', values: [percentile(alone, 0.5)] },
    {
      label: `a single document beside ${CROWD} of another tenant, p95`,
      unit: 'ms',
      values: [percentile(beside, 0.95)],
    },
    { label: '… p50', unit: 'ms', values: [percentile(beside, 0.5)] },
    { label: '… done of the others meanwhile', unit: 'jobs/s', values: rates },
    { label: 'done of the others without it', unit: 'jobs/s', values: undisturbed },
    { label: 'beside / alone, p50', unit: 'ratio', values: [ratio(0.5)] },
    { label: 'beside / alone, p95', unit: 'ratio', values: [ratio(0.95)], target: { atMost: 2 } },
  ];
}

export const benchmark: Benchmark = {
  name: 'queue-crowd',
  about: 'one document beside ten thousand of another tenant, from its upload to the pushed end of its task',
  run: crowd,
};
