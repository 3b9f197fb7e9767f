/**
 * The console's page and assets, bundled from `src/console/` by Bun when somebody first asks (some tens of
 * milliseconds) and kept in memory: a fresh clone needs no build step, and no built file can be stale.
 */
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createStaticFile, type StaticFile } from './static.ts';

export interface ConsoleBundle {
  page: StaticFile;
  /** By name under `/assets/`; every name holds its content's hash. */
  assets: ReadonlyMap<string, StaticFile>;
}

const ENTRY = fileURLToPath(new URL('../console/index.html', import.meta.url));

export async function bundleConsole(): Promise<ConsoleBundle> {
  const { outputs } = await Bun.build({
    entrypoints: [ENTRY],
    target: 'browser',
    minify: true,
    publicPath: '/assets/',
    naming: { entry: '[name]-[hash].[ext]', chunk: '[name]-[hash].[ext]', asset: '[name]-[hash].[ext]' },
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  let page: StaticFile | undefined;
  const assets = new Map<string, StaticFile>();
  for (const output of outputs) {
    const file = createStaticFile(new Uint8Array(await output.arrayBuffer()), output.type);
    if (output.path.endsWith('.html')) page = file;
    else assets.set(basename(output.path), file);
  }
  if (!page) throw new Error('The bundle of the console has no page.');
  return { page, assets };
}
