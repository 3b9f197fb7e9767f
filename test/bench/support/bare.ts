/** The peer (`../bare-server.ts`) on the services of a DreamHub. */
import { join } from 'node:path';
import { type Child, startChild } from './child.ts';
import type { Services } from './services.ts';

export async function startBareServer({ database, folder }: Services): Promise<Child & { port: number }> {
  const ready = Promise.withResolvers<{ port: number }>();
  const child = startChild({
    script: 'test/bench/bare-server.ts',
    env: { DATABASE_URL: database.url, BLOB_FOLDER: join(folder, 'bare') },
    onMessage: (message) => ready.resolve(message as { port: number }),
  });
  const ended = child.exited.then(() => {
    throw new Error(`The bare server ended: ${child.errorTail()}`);
  });
  const { port } = await Promise.race([ready.promise, ended]);
  ended.catch(() => undefined);
  return { ...child, port };
}
