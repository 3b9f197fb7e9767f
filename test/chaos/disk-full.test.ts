/** A disk of blobs without room: uploads are told to come later, work waits, nothing half-written stays, nothing is lost. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { readdir, rm, statfs, writeFile } from 'node:fs/promises';
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
/** A disk of two megabytes; only root may have one, and not in every container. */
const mount = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder.path]);
const hasDisk = mount.exitCode === 0;
if (!hasDisk) say(`a full disk is not tried: ${mount.stderr.toString().trim()}`);

let installation: Installation;
let person: Person;
beforeAll(async () => {
  if (!hasDisk) return;
  installation = await startInstallation({ workers: 1, env: { BLOB_URL: `file://${folder.path}` } });
  person = await register(installation.url);
}, 120_000);
afterAll(async () => {
  await installation?.stop();
  if (hasDisk) Bun.spawnSync(['umount', '-l', folder.path]);
  await folder.remove();
});

const ballast = join(folder.path, 'ballast');

/** Leaves so many bytes. */
async function fill(left: number): Promise<void> {
  await rm(ballast, { force: true });
  const { bavail, bsize } = await statfs(folder.path);
  await writeFile(ballast, new Uint8Array(Math.max(0, bavail * bsize - left)));
}

const staged = () => readdir(join(folder.path, 'staging')).catch(() => []);

test.skipIf(!hasDisk)(
  'without room is waited for',
  async () => {
    const { sql, workers } = installation;
    const [worker] = workers;
    await fill(64 * 1024);
    const large = await person.upload('x'.repeat(512 * 1024), 'large.txt');
    expect([large.status, large.body.code]).toEqual([503, 'unavailable']);
    expect(Number(large.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await staged()).toEqual([]);

    // There is room for the document, and none for its text.
    worker?.freeze();
    const input = inputOf('disk', 1, 20);
    const { status, body } = await person.upload(input.content, input.filename);
    expect(status).toBe(202);
    await fill(0);
    worker?.thaw();
    await eventually(
      'an attempt has met the full disk',
      async () =>
        (await sql`select 1 from tasks where id = ${body.task_id} and attempt > 0 and status = 'queued'`).length === 1,
      RECOVERY_MS,
    );
    expect(await staged()).toEqual([]);
    const [waiting] = await sql`select retry_count, error_code from tasks where id = ${body.task_id}`;
    // It is not the document's failure.
    expect({ ...waiting }).toEqual({ retry_count: 0, error_code: 'internal' });

    await rm(ballast);
    await sql`update tasks set run_at = now() where id = ${body.task_id} and handed_out_at is null`;
    await eventually(
      'it has succeeded',
      async () => (await sql`select 1 from tasks where id = ${body.task_id} and status = 'succeeded'`).length === 1,
      RECOVERY_MS,
    );
    await expectWhole(installation, body.document_id, input);
    await expectNothingCounted(installation, person.session.tenant.id);
    expect(installation.crashes).toEqual([]);
  },
  150_000,
);
