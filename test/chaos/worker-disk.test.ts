/** A worker without room for temporary files: it can read nothing, and that is no document's fault. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inputOf } from '../support/chaos-documents.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { say } from '../support/chaos-say.ts';
import { expectNothingCounted, expectWhole } from '../support/chaos-whole.ts';
import { eventually } from '../support/eventually.ts';
import { type Person, register } from '../support/person.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const RECOVERY_MS = 60_000;
const folder = await temporaryFolder();
/** Only root may have one, and not in every container. */
const mount = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', folder.path]);
const hasDisk = mount.exitCode === 0;
if (!hasDisk) say(`a full disk of a worker is not tried: ${mount.stderr.toString().trim()}`);

let installation: Installation;
let person: Person;
beforeAll(async () => {
  if (!hasDisk) return;
  installation = await startInstallation({ workers: 1, env: { TMPDIR: folder.path, MAX_ATTEMPTS: '1' } });
  person = await register(installation.url);
}, 120_000);
afterAll(async () => {
  await installation?.stop();
  if (hasDisk) Bun.spawnSync(['umount', '-l', folder.path]);
  await folder.remove();
});

test.skipIf(!hasDisk)(
  'makes no dead letters: documents wait, those that a child reads too',
  async () => {
    const { sql, workers } = installation;
    const input = inputOf('temporary', 1, 20);
    const page = `<html><body><h1>A page</h1><p>${'It says this. '.repeat(2_000)}</p></body></html>`;
    workers[0]?.freeze();
    const ballast = join(folder.path, 'ballast');
    const { bavail, bsize } = await statfs(folder.path);
    const accepted = [await person.upload(input.content, input.filename), await person.upload(page, 'page.html')];
    await writeFile(ballast, new Uint8Array(bavail * bsize));
    expect(accepted.map(({ status }) => status)).toEqual([202, 202]);
    const ids = accepted.map(({ body }) => body.task_id);
    workers[0]?.thaw();
    await eventually(
      'both have met the full disk',
      async () =>
        (await sql`select 1 from tasks where id = any(${ids}::uuid[]) and attempt > 0 and status <> 'running'`)
          .length === 2,
      RECOVERY_MS,
    );
    const waiting = await sql`select status, retry_count from tasks where id = any(${ids}::uuid[])`;
    expect(waiting.map((row) => ({ ...row }))).toEqual(ids.map(() => ({ status: 'queued', retry_count: 0 })));

    await rm(ballast);
    await sql`update tasks set run_at = now() where id = any(${ids}::uuid[]) and handed_out_at is null`;
    await eventually(
      'both have succeeded',
      async () => (await sql`select 1 from tasks where id = any(${ids}::uuid[]) and status = 'succeeded'`).length === 2,
      RECOVERY_MS,
    );
    await expectWhole(installation, accepted[0]?.body.document_id ?? '', input);
    await expectNothingCounted(installation, person.session.tenant.id);
    expect(installation.crashes).toEqual([]);
  },
  150_000,
);
