/** The database: what server it is, whether isolation holds there, whether it is migrated, and whether work stands still. */
import { connectPlainly, createDatabase } from '../../db/database.ts';
import { pendingMigrations } from '../../db/migrate.ts';
import { describeServer } from '../../db/server.ts';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import { examineServer, findStuckWork, type StuckWork } from '../../repositories/ailments.ts';
import { listSpaces } from '../../repositories/spaces.ts';
import { type DoctorEnvironment, type Finding, problem, warning, well } from './finding.ts';
import { examineSpaceOf } from './provider.ts';

const CHECK = 'database';
const STUCK_MINUTES = 15;
const MOST_SKEW_MS = 5_000;

/** Throws what the connection throws. */
async function examineVersions(url: string): Promise<Finding[]> {
  const sql = connectPlainly(url);
  try {
    const [row] = await sql<{ number: number; version: string; vector: string | null; available: string | null }[]>`
      select current_setting('server_version_num')::int as number, current_setting('server_version') as version,
        (select extversion from pg_extension where extname = 'vector') as vector,
        (select default_version from pg_available_extensions where name = 'vector') as available`;
    const { number = 0, version = '?', vector = null, available = null } = row ?? {};
    const findings: Finding[] = [];
    if (number < 150_000)
      findings.push(
        problem(CHECK, `PostgreSQL ${version} is too old.`, 'Use PostgreSQL 15 or newer; 17 ends what stands still.'),
      );
    else findings.push(well(CHECK, `PostgreSQL ${version} answers.`));
    const pgvector = vector ?? available;
    const [major = 0, minor = 0, patch = 0] = (pgvector ?? '').split('.').map(Number);
    if (pgvector === null)
      findings.push(problem('pgvector', 'The server has no pgvector.', 'Install pgvector 0.8.4 or newer.'));
    else if (major === 0 && minor < 8)
      findings.push(
        problem(
          'pgvector',
          `pgvector ${pgvector} is too old.`,
          'Install 0.8.4 or newer, then alter extension vector update.',
        ),
      );
    else if (major === 0 && minor === 8 && patch < 4)
      findings.push(
        warning(
          'pgvector',
          `pgvector ${pgvector} has mistakes that later ones have not.`,
          'Install 0.8.4 or newer, then alter extension vector update.',
        ),
      );
    else findings.push(well('pgvector', `pgvector ${pgvector} is there.`));
    return findings;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

const WORK: Readonly<Record<keyof StuckWork, { what: string; advice: string; severity: 'problem' | 'warning' }>> = {
  waiting: {
    what: 'tasks or turns have waited for longer than a quarter of an hour',
    advice: 'See to it that a worker runs and reaches Redis, or start more; a long queue alone is no fault.',
    severity: 'warning',
  },
  abandoned: {
    what: 'tasks or turns have been left by who worked on them, and nobody has taken them over',
    advice: 'See to it that a worker runs and reaches Redis: it takes them over by itself.',
    severity: 'problem',
  },
  dead: {
    what: 'tasks wait among the dead letters',
    advice: 'GET /api/v1/admin/dead-letters says why; POST …/{id}/replay tries again.',
    severity: 'warning',
  },
  events: {
    what: 'events have not been published for a quarter of an hour',
    advice: 'See to it that a worker runs and reaches Redis.',
    severity: 'problem',
  },
  deliveries: {
    what: 'deliveries of webhooks are overdue',
    advice: 'See to it that a worker runs and has ENCRYPTION_KEY (or JWT_SECRET), which opens the webhooks’ secrets.',
    severity: 'warning',
  },
  erasures: {
    what: 'erasures are past their deadline',
    advice: 'The worker’s log says what keeps them; GET /api/v1/admin/erasures lists them.',
    severity: 'problem',
  },
};

function workFindings(stuck: StuckWork): Finding[] {
  const findings = Object.entries(WORK).flatMap(([name, { what, advice, severity }]): Finding[] => {
    const count = stuck[name as keyof StuckWork];
    return count > 0 ? [{ check: 'work', severity, message: `${count} ${what}.`, advice }] : [];
  });
  return findings.length > 0 ? findings : [well('work', 'Nothing stands still.')];
}

async function examineMigrations(url: string): Promise<{ findings: Finding[]; migrated: boolean }> {
  try {
    const pending = await pendingMigrations(url);
    if (pending.length === 0) return { findings: [well('migrations', 'All are applied.')], migrated: true };
    const said = `${pending.length} are not applied: ${pending.slice(0, 3).join(', ')}${pending.length > 3 ? ' …' : ''}.`;
    return {
      findings: [
        warning('migrations', said, 'Start a process of this version: it applies them, as DATABASE_OWNER_URL.'),
      ],
      migrated: false,
    };
  } catch (error) {
    const advice = 'Run the version that this database belongs to, or restore the one that belongs to this version.';
    return { findings: [problem('migrations', messageOf(error), advice)], migrated: false };
  }
}

export async function examineDatabase(
  environment: DoctorEnvironment & { databaseUrl: string },
  { clock }: { clock: Clock },
  embedded: boolean,
): Promise<Finding[]> {
  const { databaseUrl: url } = environment;
  const ownerUrl = environment.databaseOwnerUrl ?? url;
  let findings: Finding[];
  try {
    findings = await examineVersions(url);
  } catch (error) {
    const where = new URL(url);
    const advice = 'See to it that the server runs, is reached from here, and knows this login and password.';
    return [problem(CHECK, `${where.hostname}:${where.port || 5432} does not let us in: ${messageOf(error)}`, advice)];
  }
  const { findings: told, migrated } = await examineMigrations(ownerUrl);
  findings.push(...told);
  if (!migrated) return findings;
  const { pooled } = embedded ? { pooled: false } : await describeServer(url);
  const database = createDatabase({ url, ownerUrl, max: 2, embedded, pooled, clock });
  try {
    const before = clock.now();
    const { now, unbound, unforced } = await database.system(examineServer);
    const skew = Math.abs(now.getTime() - (before + clock.now()) / 2);
    if (skew > MOST_SKEW_MS + (clock.now() - before))
      findings.push(
        problem(
          'clock',
          `This machine and the database differ by ${Math.round(skew / 1_000)} s.`,
          'Let both follow a time server: leases and tokens compare times.',
        ),
      );
    else findings.push(well('clock', 'This machine and the database agree.'));
    const loginOnly = unbound.every((role) => !role.startsWith('dreamhub_'));
    if (unbound.length > 0) {
      const said = `Row-level security does not bind ${unbound.join(', ')}.`;
      findings.push(
        loginOnly
          ? warning(
              'isolation',
              said,
              'Give DATABASE_URL a login without SUPERUSER and BYPASSRLS, and keep this one for DATABASE_OWNER_URL.',
            )
          : problem('isolation', said, `alter role … nosuperuser nobypassrls: tenants are kept apart by it.`),
      );
    }
    if (unforced.length > 0)
      findings.push(
        problem(
          'isolation',
          `Row-level security is not forced on ${unforced.join(', ')}.`,
          'alter table … force row level security: tenants are kept apart by it.',
        ),
      );
    if (unbound.length + unforced.length === 0) findings.push(well('isolation', 'Row-level security binds everybody.'));
    findings.push(...workFindings(await database.system((sql) => findStuckWork(sql, STUCK_MINUTES))));
    findings.push(...examineSpaceOf(environment, await database.system(listSpaces)));
  } finally {
    await database.close();
  }
  return findings;
}
