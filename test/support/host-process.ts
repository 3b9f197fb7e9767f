/** Runs `embedded-host.ts` in a process that a test may kill. */
import { fileURLToPath } from 'node:url';

const HOST = fileURLToPath(new URL('./embedded-host.ts', import.meta.url));

export interface HostProcess {
  readonly url: string;
  /** SIGKILL: the process gets no chance to tidy. */
  kill(): Promise<void>;
}

export async function startHost(kind: 'database' | 'redis', dataDir: string): Promise<HostProcess> {
  const child = Bun.spawn([process.execPath, HOST, kind, dataDir], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  let url = '';
  for await (const bytes of child.stdout) {
    url += new TextDecoder().decode(bytes);
    if (url.endsWith('\n')) break;
  }
  if (url === '') throw new Error(`the ${kind} host ended with ${await child.exited}`);
  return {
    url: url.trim(),
    async kill() {
      child.kill('SIGKILL');
      await child.exited;
    },
  };
}
