/**
 * `bun run doctor [--json]`: says in words what is wrong with this installation, and what to do about it. It reads the same
 * environment as the server and changes nothing. Exits 0, or 1 where something is wrong; warnings alone are 0. Each check is by
 * itself: what cannot be reached hides nothing of the rest.
 */
import { mkdir, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startEmbeddedDatabase } from '../db/embedded.ts';
import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import { lockFile } from '../kernel/file-lock.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import { within } from '../kernel/within.ts';
import { createDiskBlobStore } from '../storage/disk-blob-store.ts';
import { createS3BlobStore } from '../storage/s3-blob-store.ts';
import { examineDatabase } from './doctor/database.ts';
import type { DoctorEnvironment, Finding } from './doctor/finding.ts';
import { problem, warning, well } from './doctor/finding.ts';
import { examineProvider } from './doctor/provider.ts';
import { examineRedis } from './doctor/redis.ts';
import { examineScanner } from './doctor/scanner.ts';

export interface DoctorOptions {
  /** Undefined where the environment could not be read: then `problems` says why. */
  environment: DoctorEnvironment | undefined;
  problems: readonly string[];
  clock: Clock;
  ids: Ids;
  logger: Logger;
  /** Bytes that are free and bytes in all where a path is; by default asked of the system. */
  space?(path: string): Promise<{ free: number; total: number }>;
}

const CHECK_MS = 60_000;
const GIB = 2 ** 30;
const LOW = 0.05;

/** Free bytes of the file system that holds `path`, or will. */
async function spaceAt(path: string): Promise<{ free: number; total: number }> {
  try {
    const { bavail, bsize, blocks } = await statfs(path);
    return { free: bavail * bsize, total: blocks * bsize };
  } catch (error) {
    if (dirname(path) === path) throw error;
    return spaceAt(dirname(path));
  }
}

function examineEnvironment({ problems, environment }: DoctorOptions): Finding[] {
  if (problems.length > 0) {
    return problems.map((one) => problem('configuration', one, 'Correct the variable: the README lists them all.'));
  }
  const findings = [well('configuration', 'The environment can be read.')];
  if (environment && environment.databaseUrl !== undefined && environment.operatorToken === undefined) {
    findings.push(
      warning(
        'configuration',
        'There is no OPERATOR_TOKEN.',
        'Set one: without it nobody sees all tenants’ queues and erasures.',
      ),
    );
  }
  return findings;
}

async function examineBlobs(
  { dataDir, blobUrl, s3 }: DoctorEnvironment,
  { ids, clock }: DoctorOptions,
): Promise<Finding[]> {
  const store = s3
    ? createS3BlobStore({
        url: blobUrl,
        accessKeyId: s3.accessKeyId,
        secretAccessKey: s3.secretAccessKey,
        ...(s3.sessionToken !== undefined && { sessionToken: s3.sessionToken }),
        stagingFolder: join(dataDir, 'staging'),
        ids,
        clock,
      })
    : createDiskBlobStore({ root: fileURLToPath(blobUrl), ids, clock });
  try {
    await store.check();
    return [well('blob store', `${s3 ? 'The bucket' : fileURLToPath(blobUrl)} can be written.`)];
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    const what = s3 ? 'Look at the bucket, its endpoint and the keys.' : 'Give this user the right to write there.';
    return [problem('blob store', `${blobUrl.split('?')[0]} cannot be written: ${cause}`, what)];
  }
}

async function examineSpace(
  { dataDir, blobUrl, s3 }: DoctorEnvironment,
  { space = spaceAt }: DoctorOptions,
): Promise<Finding[]> {
  const paths = new Set([dataDir, ...(s3 ? [] : [fileURLToPath(blobUrl)])]);
  const findings: Finding[] = [];
  for (const path of paths) {
    const { free, total } = await space(path);
    const said = `${(free / GIB).toFixed(1)} GiB of ${(total / GIB).toFixed(1)} are free at ${path}.`;
    const what = 'Make room, or move the data: uploads are refused where there is none.';
    if (free < GIB / 4) findings.push(problem('disk space', said, what));
    else if (free < GIB || free < total * LOW) findings.push(warning('disk space', said, what));
    else findings.push(well('disk space', said));
  }
  return findings;
}

async function examineEmbedded(environment: DoctorEnvironment, options: DoctorOptions): Promise<Finding[]> {
  const { dataDir } = environment;
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const lock = lockFile(join(dataDir, 'database.lock'));
  if (!lock) {
    const said = `The embedded database in ${dataDir} belongs to a process that runs, and was not looked at.`;
    return [well('database', `${said} Its /readyz tells more.`)];
  }
  lock.release();
  const { logger, clock } = options;
  const database = await startEmbeddedDatabase({ dataDir, logger, clock });
  try {
    return await examineDatabase(
      { ...environment, databaseUrl: database.url, databaseOwnerUrl: database.url },
      options,
      true,
    );
  } finally {
    await database.stop();
  }
}

/** All that there is to say, well or not. */
export async function examine(options: DoctorOptions): Promise<Finding[]> {
  const { environment, clock } = options;
  if (!environment) return examineEnvironment(options);
  const checks: Record<string, () => Promise<Finding[]>> = {
    configuration: async () => examineEnvironment(options),
    database: () =>
      environment.databaseUrl === undefined
        ? examineEmbedded(environment, options)
        : examineDatabase({ ...environment, databaseUrl: environment.databaseUrl }, options, false),
    redis: () => examineRedis(environment, options),
    'blob store': () => examineBlobs(environment, options),
    'disk space': () => examineSpace(environment, options),
    provider: () => examineProvider(environment, options),
    scanner: () => examineScanner(environment, options),
  };
  const found = await Promise.all(
    Object.entries(checks).map(async ([name, check]) => {
      try {
        return await within(clock, CHECK_MS, check(), (): never => {
          throw new Error(`no answer within ${CHECK_MS / 1_000} s`);
        });
      } catch (error) {
        return [
          problem(
            name,
            `It could not be looked at: ${messageOf(error)}`,
            'See to it that it runs and is reached from here.',
          ),
        ];
      }
    }),
  );
  return found.flat();
}

const SIGNS = { ok: '✓', warning: '!', problem: '✗' } as const;

/** Writes what was found to `out`; resolves to the exit code. */
export async function runDoctor(
  args: readonly string[],
  options: DoctorOptions,
  out: (text: string) => void,
): Promise<number> {
  const findings = await examine(options);
  const isWell = findings.every(({ severity }) => severity !== 'problem');
  if (args.includes('--json')) {
    out(`${JSON.stringify({ ok: isWell, findings }, null, 2)}\n`);
    return isWell ? 0 : 1;
  }
  for (const { severity, check, message, advice } of findings) {
    out(`${SIGNS[severity]} ${check}: ${message}\n${advice === null ? '' : `    ${advice}\n`}`);
  }
  const wrong = findings.filter(({ severity }) => severity === 'problem').length;
  const unsure = findings.filter(({ severity }) => severity === 'warning').length;
  out(
    `\n${wrong === 0 ? 'Nothing is wrong' : `${wrong} of ${findings.length} things are wrong`}, ${unsure} to look at.\n`,
  );
  return isWell ? 0 : 1;
}
