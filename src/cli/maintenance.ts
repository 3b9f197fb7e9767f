/**
 * `bun run maintenance`: settles vector tiers, brings scattered rows together, vacuums and analyses; beside a running
 * installation or alone. Reads the environment as the server does. Exits 0, or 1 where something failed. The embedded
 * database belongs to the running process, which looks after it itself.
 */
import { createDatabase } from '../db/database.ts';
import { migrate, sessionRoleFor } from '../db/migrate.ts';
import { describeServer } from '../db/server.ts';
import { systemClock } from '../kernel/clock.ts';
import { systemIds } from '../kernel/ids.ts';
import { createLogger } from '../kernel/logger.ts';
import { createMaintenance } from '../services/maintenance.ts';
import { createVectorTiers } from '../services/vector-tiers.ts';

export interface MaintenanceEnvironment {
  databaseUrl: string | undefined;
  databaseOwnerUrl: string | undefined;
  logLevel: string;
}

/** Returns when all is done, or when a signal broke it off. */
export async function runMaintenance(config: MaintenanceEnvironment): Promise<void> {
  const { databaseUrl: url, databaseOwnerUrl: ownerUrl = url } = config;
  if (url === undefined || ownerUrl === undefined) {
    throw new Error('DATABASE_URL is needed: the embedded database is looked after by the process that uses it.');
  }
  const logger = createLogger({ level: config.logLevel, destination: process.stderr });
  const { pooled } = await describeServer(url);
  const { pooled: ownerPooled } = await describeServer(ownerUrl);
  await migrate({ url: ownerUrl, embedded: false, pooled: ownerPooled, logger });
  const sessionRole = await sessionRoleFor(url, pooled);
  const database = createDatabase({
    url,
    ownerUrl,
    max: 4,
    embedded: false,
    pooled,
    ownerPooled,
    ...(sessionRole && { sessionRole }),
  });
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort(new Error(name)));
  try {
    const tiers = createVectorTiers({ database, clock: systemClock, ids: systemIds, random: Math.random, logger });
    const report = await createMaintenance({ database, tiers, logger }).run(stop.signal);
    process.stdout.write(
      `${report.settled} tenants settled, ${report.regrouped} regrouped (${report.rows} rows), ${report.vacuumed} tables vacuumed\n`,
    );
  } finally {
    await database.close();
  }
}
