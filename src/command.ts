/**
 * `bun src/command.ts NAME …`: gives a command of `cli/` its arguments and the environment. Exits 0, 1 where it failed, 2
 * where it was asked for wrongly, 78 where the environment has a problem.
 */
import { runMaintenance } from './cli/maintenance.ts';
import { runSpaces, UsageError } from './cli/spaces.ts';
import { ConfigError, readConfig } from './config.ts';
import { messageOf } from './kernel/errors.ts';

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
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
