/**
 * What an upload costs in memory: the peak of the server's resident memory above what it had when it idled, while 200 MB
 * arrive, and while 4 × 50 MB arrive at once. Every round has a process of its own, so that memory the allocator kept
 * from one upload does not hide what the next one needs.
 *
 * With role `all` the same file is also ingested or refused, by this process and its helpers; that is reported, but the
 * target is the upload's alone.
 */
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Benchmark } from './support/benchmark.ts';
import { type Installation, startInstallation } from './support/installation.ts';
import { MB, peakOf, resetPeak, residentOf, settled, treeResidentOf } from './support/process-stats.ts';
import { interleave } from './support/rounds.ts';
import { type Services, startServices } from './support/services.ts';
import { registerTenant, type Tenant } from './support/tenants.ts';

const LARGE_BYTES = 200 * MB;
const SEVERAL = 4;
const SEVERAL_BYTES = 50 * MB;
const SAMPLE_MS = 10;
const TARGET = { atMost: 150 };
/** How long ingestion is watched; a worker that has not ended by then has shown what it needs. */
const INGEST_MS = 120_000;

/** Lines of words and numbers, no two files alike: it passes for the plain text that it is. */
async function writeText(path: string, size: number): Promise<void> {
  const seed = crypto.randomUUID();
  const file = await open(path, 'wx');
  try {
    for (let written = 0, line = 0; written < size; ) {
      let text = '';
      while (text.length < MB) {
        line += 1;
        text += `Line ${line} of ${seed}: the measure of memory is what is left when the stream has gone by.\n`;
      }
      written += (await file.write(text.slice(0, size - written))).bytesWritten;
    }
  } finally {
    await file.close();
  }
}

async function upload({ port }: Installation, { token }: Tenant, path: string): Promise<{ task_id: string }> {
  const boundary = `bench-${crypto.randomUUID()}`;
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="large.txt"\r\nContent-Type: text/plain\r\n\r\n`;
  const tail = `\r\n--${boundary}--\r\n`;
  const answer = Promise.withResolvers<{ status: number; body: string }>();
  const outgoing = request(
    {
      host: '127.0.0.1',
      port,
      method: 'POST',
      path: '/api/v1/upload',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': `multipart/form-data; boundary=${boundary}`,
        'content-length': head.length + Bun.file(path).size + tail.length,
      },
    },
    async (response) => {
      let body = '';
      for await (const chunk of response) body += chunk;
      answer.resolve({ status: response.statusCode ?? 0, body });
    },
  );
  outgoing.on('error', answer.reject);
  outgoing.write(head);
  await pipeline(createReadStream(path), outgoing, { end: false });
  outgoing.end(tail);
  const { status, body } = await answer.promise;
  if (status !== 202) throw new Error(`The upload answered ${status}: ${body}`);
  return JSON.parse(body) as { task_id: string };
}

/** Bytes by which memory rose above `idle` while `work` ran: by the kernel's own mark, and sampled over all processes. */
async function riseDuring(pid: number, idle: { own: number; tree: number }, work: () => Promise<unknown>) {
  await resetPeak(pid);
  let tree = 0;
  let sampled = 0;
  let done = false;
  const sampling = (async () => {
    while (!done) {
      sampled = Math.max(sampled, await residentOf(pid));
      tree = Math.max(tree, await treeResidentOf(pid));
      await Bun.sleep(SAMPLE_MS);
    }
  })();
  try {
    await work();
  } finally {
    done = true;
    await sampling;
  }
  const peak = Math.max(sampled, await peakOf(pid));
  return { own: (peak - idle.own) / MB, tree: (tree - idle.tree) / MB };
}

async function idleOf({ pid }: Installation): Promise<{ own: number; tree: number }> {
  return { own: await settled(() => residentOf(pid)), tree: await treeResidentOf(pid) };
}

async function withFiles<T>(folder: string, sizes: readonly number[], fn: (paths: string[]) => Promise<T>): Promise<T> {
  const paths = sizes.map((_, index) => join(folder, `upload-${index}.txt`));
  try {
    await Promise.all(paths.map((path, index) => writeText(path, sizes[index] ?? 0)));
    return await fn(paths);
  } finally {
    await Promise.all(paths.map((path) => rm(path, { force: true })));
  }
}

async function taskEnd({ address }: Installation, { token }: Tenant, taskId: string): Promise<string> {
  const started = performance.now();
  let status = '';
  while (performance.now() - started < INGEST_MS) {
    const response = await fetch(`${address}/api/v1/tasks/${taskId}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const task = (await response.json()) as { status: string; error: { code: string } | null };
    status = task.error ? `${task.status} (${task.error.code})` : task.status;
    if (task.status !== 'queued' && task.status !== 'running') return status;
    await Bun.sleep(200);
  }
  return `still ${status} after ${INGEST_MS / 1_000} s`;
}

interface Prepared {
  installation: Installation;
  tenant: Tenant;
  idle: { own: number; tree: number };
}

async function withInstallation<T>(
  services: Services,
  role: string,
  fn: (prepared: Prepared) => Promise<T>,
): Promise<T> {
  await using installation = await startInstallation({ ...services.env, DREAMHUB_ROLE: role });
  const tenant = await registerTenant(installation.address, `bench-${crypto.randomUUID().slice(0, 8)}`);
  // Awaited here, or the installation would be stopped before.
  return await fn({ installation, tenant, idle: await idleOf(installation) });
}

export const benchmark: Benchmark = {
  name: 'upload-memory',
  about: 'the peak of resident memory above idle while large files arrive',

  async run({ rounds, progress }) {
    await using services = await startServices();
    const uploading = (sizes: readonly number[]) => () =>
      withFiles(services.folder, sizes, (paths) =>
        withInstallation(services, 'server', async ({ installation, tenant, idle }) => {
          const started = performance.now();
          const rise = await riseDuring(installation.pid, idle, () =>
            Promise.all(paths.map((path) => upload(installation, tenant, path))),
          );
          return { ...rise, idle: idle.own / MB, ms: performance.now() - started };
        }),
      );
    progress('uploading to a server without a worker');
    const { one, several } = await interleave(rounds, {
      one: uploading([LARGE_BYTES]),
      several: uploading(Array<number>(SEVERAL).fill(SEVERAL_BYTES)),
    });

    progress('uploading to role all, which also ingests');
    let end = '';
    const ingest = await withFiles(services.folder, [LARGE_BYTES], ([path = '']) =>
      withInstallation(services, 'all', ({ installation, tenant, idle }) =>
        riseDuring(installation.pid, idle, async () => {
          const { task_id } = await upload(installation, tenant, path);
          end = await taskEnd(installation, tenant, task_id);
        }),
      ),
    );

    return [
      { label: 'role server, resident when idle', unit: 'MB', values: [...one, ...several].map(({ idle }) => idle) },
      { label: 'role server, 200 MB: peak above idle', unit: 'MB', values: one.map(({ own }) => own), target: TARGET },
      { label: 'role server, 200 MB: time of the upload', unit: 'ms', values: one.map(({ ms }) => ms) },
      {
        label: `role server, ${SEVERAL} × 50 MB at once: peak above idle`,
        unit: 'MB',
        values: several.map(({ own }) => own),
        target: TARGET,
      },
      {
        label: `role all, 200 MB, task ${end}: peak above idle, main process`,
        unit: 'MB',
        values: [ingest.own],
      },
      {
        label: `role all, 200 MB, task ${end}: peak above idle, all processes`,
        unit: 'MB',
        values: [ingest.tree],
      },
    ];
  },
};
