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
const SINGLES = 40;
const WARM_UP = 20;
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

/** How many tasks of the tenant have ended; throws where one did not succeed. */
async function endedOf({ database }: Services, { session }: Person): Promise<number> {
  const sql = postgres(database.adminUrl, { max: 1 });
  try {
    const [row] = await sql<{ ended: number; bad: number }[]>`
      select count(*) filter (where status = 'succeeded')::int as ended,
        count(*) filter (where status in ('failed', 'dead'))::int as bad
      from tasks where tenant_id = ${session.tenant.id}`;
    if (!row || row.bad > 0) throw new Error(`${row?.bad} documents of the crowd failed`);
    return row.ended;
  } finally {
    await sql.end();
  }
}

/** Milliseconds, one upload after the other. */
async function learnMany(person: Person, count: number, name: string): Promise<number[]> {
  const socket = await person.socket();
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const started = performance.now();
    const { end } = await person.learn(socket, contentOf(`${name}${i}`), `${name}${i}.md`);
    if (end.type !== 'task.succeeded') throw new Error(`a single document ended as ${end.type}`);
    times.push(performance.now() - started);
  }
  socket.close();
  return times;
}

const percentile = (values: readonly number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1] ?? Number.NaN;

async function crowd(): Promise<Row[]> {
  await using services = await startServices();
  await using installation = await startInstallation(services.env);
  const [single, many] = [await register(installation.address), await register(installation.address)];
  await learnMany(single, WARM_UP, 'warm');
  const solo = await learnMany(single, SINGLES, 'solo');
  await addCrowd(services, many);
  for (const started = performance.now(); (await endedOf(services, many)) < WARM_UP; await Bun.sleep(50)) {
    if (performance.now() - started > PATIENCE_MS) throw new Error('The crowd was not begun.');
  }
  const before = await endedOf(services, many);
  const started = performance.now();
  const beside = await learnMany(single, SINGLES, 'beside');
  const rate = ((await endedOf(services, many)) - before) / ((performance.now() - started) / 1_000);
  const p95 = [solo, beside].map((times) => percentile(times, 0.95));
  return [
    { label: 'a single document alone, p95', unit: 'ms', values: [p95[0] ?? Number.NaN] },
    { label: '… p50', unit: 'ms', values: [percentile(solo, 0.5)] },
    { label: `a single document beside ${CROWD} of another tenant, p95`, unit: 'ms', values: [p95[1] ?? Number.NaN] },
    { label: '… p50', unit: 'ms', values: [percentile(beside, 0.5)] },
    { label: '… done of the others meanwhile', unit: 'jobs/s', values: [rate] },
    {
      label: '… p95 of alone',
      unit: 'ratio',
      values: [(p95[1] ?? Number.NaN) / (p95[0] ?? Number.NaN)],
      target: { atMost: 2 },
    },
  ];
}

export const benchmark: Benchmark = {
  name: 'queue-crowd',
  about: 'one document beside ten thousand of another tenant, from its upload to the pushed end of its task',
  run: crowd,
};
