/**
 * `bun test/support/embedded-host.ts database|redis DATA_DIR`: a process that starts an embedded service, says where it
 * is, and lives until it is killed. For tests of what the death of the parent does.
 */
import { startEmbeddedDatabase } from '../../src/db/embedded.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { startEmbeddedRedis } from '../../src/redis/embedded.ts';

const [kind, dataDir = ''] = process.argv.slice(2);
const start = kind === 'database' ? startEmbeddedDatabase : startEmbeddedRedis;
const { url } = await start({ dataDir, logger: silentLogger });
process.stdout.write(`${url}\n`);
await Bun.stdin.text();
