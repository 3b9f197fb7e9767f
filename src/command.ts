/**
 * `bun src/command.ts NAME …`: gives a command of `cli/` its arguments and the environment. Exits 0, 1 where it failed, 2
 * where it was asked for wrongly, 78 where the environment has a problem.
 */
import { openBlobs } from './backends.ts';
import { type BackupOptions, backUp, restore } from './cli/backup.ts';
import { runDoctor } from './cli/doctor.ts';
import { runMaintenance } from './cli/maintenance.ts';
import { runSpaces, UsageError } from './cli/spaces.ts';
import { type Config, ConfigError, readConfig } from './config.ts';
import { systemClock } from './kernel/clock.ts';
import { messageOf } from './kernel/errors.ts';
import { systemIds } from './kernel/ids.ts';
import { createLogger } from './kernel/logger.ts';

/** Also where the environment cannot be read: that is what it is there to say. */
async function doctor(args: readonly string[]): Promise<void> {
  let environment: Config | undefined;
  let problems: readonly string[] = [];
  try {
    environment = readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    problems = error.problems;
  }
  const logger = createLogger({ level: 'silent', destination: process.stderr });
  const options = { environment, problems, clock: systemClock, ids: systemIds, logger };
  process.exitCode = await runDoctor(args, options, (text) => process.stdout.write(text));
}

/** Of a backup: where the database and the blobs are. Roles and ports are others' matter. */
function backing(args: readonly string[], flag: string): { folder: string; options: BackupOptions } {
  const [folder] = args;
  if (folder === undefined || args.length > 1) throw new UsageError(`one folder is needed: make ${flag}=folder`);
  const config = readConfig({ ...process.env, DREAMHUB_ROLE: 'all' });
  const environment = { ...config, backupUrl: process.env['BACKUP_DATABASE_URL'] || undefined };
  const blobs = openBlobs(config, systemIds, systemClock);
  const say = (line: string) => void process.stdout.write(`${line}\n`);
  return { folder, options: { environment, variables: process.env, blobs, clock: systemClock, say } };
}

async function backUpTo(args: readonly string[]): Promise<void> {
  const { folder, options } = backing(args, 'backup TO');
  await backUp(folder, options);
}

async function restoreFrom(args: readonly string[]): Promise<void> {
  const { folder, options } = backing(args, 'restore FROM');
  await restore(folder, options);
}

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  backup: backUpTo,
  doctor,
  restore: restoreFrom,
  maintenance: () => runMaintenance(readConfig({ ...process.env, DREAMHUB_ROLE: 'all' })),
  spaces: (args) => runSpaces(args, process.env),
};

const codeOf = (error: unknown): number => {
  if (error instanceof ConfigError) return 78;
  return error instanceof UsageError || error instanceof TypeError ? 2 : 1;
};

async function main([name = '', ...args]: readonly string[]): Promise<void> {
  const command = COMMANDS[name];
  if (!command) throw new UsageError(`a command is needed: ${Object.keys(COMMANDS).join(', ')}`);
  await command(args);
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exit(codeOf(error));
});
