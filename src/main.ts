/** Reads the environment, picks roles, installs signal handlers; nothing else does. */
import { networkInterfaces } from 'node:os';
import packageJson from '../package.json' with { type: 'json' };
import { openBackends } from './backends.ts';
import { ConfigError, readConfig } from './config.ts';
import { demoLogin } from './demo.ts';
import { createDeps } from './deps.ts';
import { systemClock } from './kernel/clock.ts';
import { messageOf } from './kernel/errors.ts';
import { systemIds } from './kernel/ids.ts';
import { createLogger } from './kernel/logger.ts';
import { createMetrics } from './kernel/metrics.ts';
import { createLifecycle } from './lifecycle.ts';
import { keptSecret } from './secrets.ts';

/** `EX_CONFIG` of sysexits.h. */
const EXIT_CONFIG = 78;
/** Longer than all parts together may take; a container is killed after 30 s by default. */
const STOP_LIMIT_MS = 28_000;

function readOrExit() {
  try {
    return readConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(EXIT_CONFIG);
  }
}

async function main(): Promise<void> {
  const config = readOrExit();
  const logger = createLogger({ level: config.logLevel, role: config.role });
  const signalled = Promise.withResolvers<string>();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    let seen = false;
    process.on(signal, () => {
      // A second one means: now.
      if (seen) process.exit(1);
      seen = true;
      signalled.resolve(signal);
    });
  }
  process.on('unhandledRejection', (error) => logger.error({ err: error }, `unhandled rejection: ${messageOf(error)}`));

  const clock = systemClock;
  const ids = systemIds;
  const backends = await openBackends({ config, logger, clock, ids });
  const embedded = config.databaseUrl === undefined;
  const jwtSecrets =
    config.jwtSecrets.length > 0 || !embedded ? config.jwtSecrets : [await keptSecret(config.dataDir, 'jwt')];
  const operatorToken = config.operatorToken ?? (embedded ? await keptSecret(config.dataDir, 'operator') : undefined);
  const encryptionKeys =
    config.encryptionKeys.length > 0
      ? config.encryptionKeys
      : embedded
        ? [await keptSecret(config.dataDir, 'encryption')]
        : jwtSecrets;
  const demo = config.demo && embedded ? await demoLogin(config.dataDir) : null;
  const deps = await createDeps({
    config,
    backends,
    jwtSecrets,
    operatorToken,
    encryptionKeys,
    demo,
    version: packageJson.version,
    clock,
    ids,
    random: Math.random,
    logger,
    metrics: createMetrics(),
  });
  const { app } = deps;
  const lifecycle = createLifecycle({
    parts: [
      { name: 'backends', start: async () => {}, stop: () => backends.close(), stopMs: 12_000 },
      ...deps.parts,
      {
        name: 'http',
        async start() {
          app.listen({ port: config.port, hostname: config.host });
        },
        async stop() {
          await deps.leave();
          await app.stop();
        },
      },
    ],
    clock,
    logger,
  });
  await lifecycle.start();
  greet(`http://${shownHost(config.host)}:${app.server?.port ?? config.port}`);

  const why = await Promise.race([signalled.promise, backends.lost.then((what) => `${what} ended`)]);
  logger.info({ why }, `stopping: ${why}`);
  const limit = setTimeout(() => process.exit(1), STOP_LIMIT_MS);
  await lifecycle.stop();
  clearTimeout(limit);
  logger.info('stopped');
  process.exit(why.startsWith('SIG') ? 0 : 1);

  function greet(address: string): void {
    logger.info({ address }, `DreamHub ${packageJson.version} serves on ${address}`);
    if (config.role === 'worker' || !embedded) return;
    const lines = [`Console  ${address}/`, `Swagger  ${address}/swagger`, `Data     ${config.dataDir}`];
    if (demo) lines.push(`Demo     tenant ${demo.tenant}, e-mail ${demo.email}, password ${demo.password}`);
    process.stdout.write(`\n  DreamHub is ready.\n\n${lines.map((line) => `  ${line}`).join('\n')}\n\n`);
  }
}

function shownHost(host: string): string {
  if (host !== '0.0.0.0' && host !== '::') return host === '127.0.0.1' ? 'localhost' : host;
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((one) => one && one.family === 'IPv4' && !one.internal);
  return outside?.address ?? 'localhost';
}

main().catch((error: unknown) => {
  process.stderr.write(`DreamHub could not start: ${messageOf(error)}\n`);
  process.exit(1);
});
