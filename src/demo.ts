/**
 * The demo tenant of an embedded installation: an owner, and two short documents that went through the real pipeline, so
 * that the first question has an answer. The password is made at the first start and kept in DATA_DIR.
 */
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { AccessTokens } from './contracts/index.ts';
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
  identity: Pick<Identity, 'register'>;
  tokens: AccessTokens;
  uploads: Uploads;
}

/** Makes the tenant and uploads its documents; does nothing where the tenant is there already. */
export async function makeDemo({ login, identity, tokens, uploads }: DemoOptions): Promise<void> {
  const traceId = newTraceId();
  let session: Awaited<ReturnType<Identity['register']>>;
  try {
    session = await identity.register(login);
  } catch (error) {
    if (error instanceof AppError && error.kind === 'conflict') return;
    throw error;
  }
  const principal = await tokens.verify(session.access_token);
  if (!principal) throw new AppError('internal', 'The demo session is not valid.');
  const names = (await readdir(SAMPLES)).filter((name) => name.endsWith('.md')).sort();
  for (const name of names) {
    const form = new FormData();
    form.append('file', Bun.file(SAMPLES + name), name);
    const response = new Response(form);
    await runAs({ tenantId: principal.tenantId, userId: principal.userId, traceId }, () =>
      uploads.accept({
        body: response.body,
        contentType: response.headers.get('content-type') ?? '',
        signal: new AbortController().signal,
      }),
    );
  }
}
