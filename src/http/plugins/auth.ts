/**
 * Who is calling. Credentials and what they reach (`access.ts`) are proven before anything else of a request is looked at, around Elysia rather than in its
 * hooks: bad credentials then beat a bad body, an unknown route tells a stranger nothing, and the handler, with all that it
 * awaits and every stream it returns, runs inside the caller's scope. An `onRequest` hook refuses what was not proven, and
 * `authenticated` refuses again inside each protected route, should its path ever be read in two ways.
 *
 * A stream made by `new Response(asyncIterator)` or with `type: 'direct'` is pulled outside the scope (measured on Bun
 * 1.4.5): routes return a `ReadableStream` or are generators.
 */
import { Elysia } from 'elysia';
import type { Principal } from '../../contracts/index.ts';
import { runAs } from '../../kernel/context.ts';
import { AppError, toAppError } from '../../kernel/errors.ts';
import { assertMayAsk, assertMayCall } from '../access.ts';
import { isOpenAiPath } from '../openai/errors.ts';
import { principalOf, stateOf } from '../request-state.ts';

export interface AuthOptions {
  /** Of an access token or an API key; null for what is not valid, or no longer. */
  principals: {
    prove(bearer: string): Promise<Principal | null>;
    /** Who may read this report of an erasure although it was of them; null for everybody else. */
    witness(bearer: string, id: string): Promise<Principal | null>;
  };
  /** Whether a token is the operator's. */
  isOperator(token: string): boolean;
}

/** What a stranger may call under `/api`: it is where credentials come from. */
const OPEN_ROUTES: ReadonlySet<string> = new Set([
  'POST /api/v1/auth/register',
  'POST /api/v1/auth/login',
  'POST /api/v1/auth/refresh',
]);

const MCP_PATH = '/mcp';

function needsCredentials(method: string, path: string): boolean {
  if (isOpenAiPath(path) || path === MCP_PATH || path.startsWith(`${MCP_PATH}/`)) return true;
  return (path === '/api' || path.startsWith('/api/')) && !OPEN_ROUTES.has(`${method} ${path}`);
}

/** The operator is in no tenant, so nothing else under `/api` has anything that is the operator's. */
function isOpenToOperator(path: string): boolean {
  return path.startsWith('/api/v1/admin/');
}

/** The one thing that an access token is good for once its user is gone. */
const REPORT = /^\/api\/v1\/privacy\/erasure\/([0-9a-f-]{36})$/;

const BEARER = /^Bearer +([\w.~+/-]+=*) *$/i;

export function authPlugin({ principals, isOperator }: AuthOptions) {
  async function prove(request: Request): Promise<void> {
    const state = stateOf(request);
    const header = request.headers.get('authorization');
    if (header === null) {
      state.refusal = new AppError('unauthenticated', 'Credentials are needed here.');
      return;
    }
    const token = BEARER.exec(header)?.[1];
    if (token !== undefined && isOpenToOperator(state.path) && isOperator(token)) {
      state.operator = true;
      return;
    }
    const report = request.method === 'GET' ? REPORT.exec(state.path)?.[1] : undefined;
    const principal =
      token === undefined
        ? null
        : ((await principals.prove(token)) ?? (report === undefined ? null : await principals.witness(token, report)));
    if (!principal) {
      state.refusal = new AppError('unauthenticated', 'The credentials are not valid, or no longer.');
      return;
    }
    state.principal = principal;
    assertMayAsk(principal, request.method, state.path);
  }

  return new Elysia({ name: 'auth' })
    .wrap((handle, request) => async () => {
      const state = stateOf(request);
      if (!needsCredentials(request.method, state.path)) return handle(request);
      try {
        await prove(request);
      } catch (error) {
        state.refusal = toAppError(error);
      }
      const { principal, refusal, traceId } = state;
      if (!principal || refusal) return handle(request);
      return runAs({ tenantId: principal.tenantId, userId: principal.userId, traceId }, () => handle(request));
    })
    .onRequest(({ request }) => {
      const { refusal } = stateOf(request);
      if (refusal) throw refusal;
    });
}

/** Gives the routes after it a typed `principal`, and refuses them to everybody else, and to whom the table does not let. */
export const authenticated = new Elysia({ name: 'authenticated' }).resolve({ as: 'scoped' }, ({ request, route }) => {
  const principal = principalOf(request);
  assertMayCall(principal, request.method, route);
  return { principal };
});
