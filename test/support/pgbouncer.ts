/** A PgBouncer in transaction mode before the PostgreSQL of the tests, with nothing configured in favour of DreamHub. */
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface Pgbouncer {
  /** The same login and database, by way of PgBouncer. */
  through(url: string): string;
  /** Sessions with PostgreSQL, of all users and databases. */
  servers(): Promise<number>;
  stop(): Promise<void>;
}

/** Debian keeps it where root alone looks. */
export function findPgbouncer(): string | undefined {
  return Bun.which('pgbouncer', { PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin` }) ?? undefined;
}

const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;

/** `urls` are the logins that it lets in; all of them on one server. */
export async function startPgbouncer(urls: readonly string[]): Promise<Pgbouncer> {
  const program = findPgbouncer();
  const [first] = urls.map((url) => new URL(url));
  if (!program || !first) throw new Error('There is no pgbouncer.');
  const folder = await temporaryFolder();
  const port = freePort();
  const at = (name: string) => join(folder.path, name);
  const logins = new Map(urls.map((url) => [new URL(url).username, decodeURIComponent(new URL(url).password)]));
  await Bun.write(at('users'), [...logins].map(([user, password]) => `${quoted(user)} ${quoted(password)}\n`).join(''));
  await Bun.write(
    at('ini'),
    `[databases]
* = host=${first.hostname} port=${first.port || 5432}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${at('users')}
pool_mode = transaction
default_pool_size = 8
max_client_conn = 500
admin_users = ${first.username}
logfile = ${at('log')}
`,
  );
  // It refuses to be root, and then reads its files as somebody else.
  const isRoot = process.getuid?.() === 0;
  if (isRoot) await chmod(folder.path, 0o777);
  const child = Bun.spawn([program, ...(isRoot ? ['-u', 'nobody'] : []), '-q', at('ini')], {
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  const console = postgres(`postgres://${first.username}@127.0.0.1:${port}/pgbouncer`, {
    max: 1,
    fetch_types: false,
    prepare: false,
    connect_timeout: 5,
    onnotice: () => undefined,
  });
  const show = (what: string) => console.unsafe(`show ${what}`).simple();
  async function stop(): Promise<void> {
    await console.end({ timeout: 1 });
    child.kill('SIGKILL');
    await child.exited;
    await folder.remove();
  }
  try {
    await eventually('PgBouncer answers', () =>
      show('version').then(
        () => true,
        () => false,
      ),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    through(url) {
      const changed = new URL(url);
      changed.hostname = '127.0.0.1';
      changed.port = String(port);
      return changed.href;
    },
    servers: async () => (await show('servers')).length,
    stop,
  };
}
