/** Redis: whether it is one, keeps what it is given, and has room. Losing it loses no accepted work; being without it stops work. */
import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import type { Logger } from '../../kernel/logger.ts';
import { createRedisClients } from '../../redis/clients.ts';
import { type DoctorEnvironment, type Finding, problem, warning, well } from './finding.ts';

const CHECK = 'redis';
const FULL = 0.9;

function examineInfo(info: string): Finding[] {
  const value = (name: string) => new RegExp(`^${name}:(.*)$`, 'm').exec(info)?.[1]?.trim();
  const version = value('redis_version') ?? '0';
  const findings: Finding[] = [];
  if (Number(version.split('.')[0]) < 7)
    findings.push(problem(CHECK, `Redis ${version} is too old.`, 'Use Redis 7 or newer, or Valkey.'));
  else findings.push(well(CHECK, `Redis ${version} answers.`));
  const policy = value('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction')
    findings.push(
      problem(
        CHECK,
        `maxmemory-policy is ${policy}: it throws queued work away.`,
        'CONFIG SET maxmemory-policy noeviction, and in its file.',
      ),
    );
  if (value('role') === 'slave')
    findings.push(problem(CHECK, 'This is a replica, which takes no writes.', 'Let REDIS_URL name the primary.'));
  if (value('aof_enabled') !== '1')
    findings.push(
      warning(
        CHECK,
        'Nothing is appended to a file: a restart loses what streams to readers at that moment.',
        'CONFIG SET appendonly yes. Accepted work is in PostgreSQL and is not lost.',
      ),
    );
  const [used, most] = [Number(value('used_memory') ?? 0), Number(value('maxmemory') ?? 0)];
  if (most > 0 && used > most * FULL)
    findings.push(
      problem(
        CHECK,
        `${Math.round((100 * used) / most)} % of maxmemory are used; nothing is taken when it is full.`,
        'Raise maxmemory.',
      ),
    );
  return findings;
}

export async function examineRedis(
  { redisUrl }: DoctorEnvironment,
  { logger, clock }: { logger: Logger; clock: Clock },
): Promise<Finding[]> {
  if (redisUrl === undefined) {
    const program = Bun.which('redis-server') ?? Bun.which('valkey-server');
    return program
      ? [well(CHECK, `The embedded Redis is ${program}.`)]
      : [problem(CHECK, 'There is no redis-server or valkey-server to embed.', 'Install one, or set REDIS_URL.')];
  }
  const clients = createRedisClients({ url: redisUrl, logger, clock });
  try {
    await clients.check(5_000);
    return (await clients.info()).flatMap(examineInfo);
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    return [
      problem(CHECK, `REDIS_URL does not answer: ${cause}`, 'See to it that Redis runs and is reached from here.'),
    ];
  } finally {
    await clients.close();
  }
}
