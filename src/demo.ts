/**
 * The demo tenant of an embedded installation: an owner, and two short documents that went through the real pipeline, so
 * that the first question has an answer. The password is made at the first start and kept in DATA_DIR.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AccessTokens, Principal } from './contracts/index.ts';
import { newTraceId, runAs } from './kernel/context.ts';
import { AppError } from './kernel/errors.ts';
import { keptSecret } from './secrets.ts';
import type { Identity } from './services/identity.ts';
import type { Uploads } from './services/uploads.ts';

export interface DemoLogin {
  tenant: string;
  email: string;
  password: string;
}

const TENANT = 'demo';
const EMAIL = 'demo@example.com';
const SAMPLES = fileURLToPath(new URL('../deploy/demo/', import.meta.url));

export async function demoLogin(dataDir: string): Promise<DemoLogin> {
  return { tenant: TENANT, email: EMAIL, password: (await keptSecret(dataDir, 'demo-password')).slice(0, 16) };
}

export interface DemoOptions {
  login: DemoLogin;
  dataDir: string;
  identity: Pick<Identity, 'register' | 'login'>;
  tokens: AccessTokens;
  uploads: Uploads;
}

async function session({ login, identity, tokens }: DemoOptions): Promise<Principal> {
  const entered = await identity.register(login).catch((error: unknown) => {
    if (error instanceof AppError && error.kind === 'conflict')
      return identity.login(login, { ip: '', traceId: newTraceId() });
    throw error;
  });
  const principal = await tokens.verify(entered.access_token);
  if (!principal) throw new AppError('internal', 'The demo session is not valid.');
  return principal;
}

/** Makes the tenant and uploads its documents, once: what somebody deletes from it stays deleted. */
export async function makeDemo(options: DemoOptions): Promise<void> {
  const made = Bun.file(join(options.dataDir, 'demo.made'));
  if (await made.exists()) return;
  const { tenantId, userId } = await session(options);
  const names = (await readdir(SAMPLES)).filter((name) => name.endsWith('.md')).sort();
  for (const name of names) {
    const form = new FormData();
    form.append('file', new File([await Bun.file(SAMPLES + name).bytes()], name));
    const response = new Response(form);
    // Asked for before the body: Bun forgets the boundary once the body is a stream.
    const contentType = response.headers.get('content-type') ?? '';
    const { body } = response;
    await runAs({ tenantId, userId, traceId: newTraceId() }, () =>
      options.uploads.accept({ body, contentType, signal: new AbortController().signal }),
    );
  }
  await made.write(`${new Date().toISOString()}\n`);
}
