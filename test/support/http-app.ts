/** The HTTP app over scripted services, for tests of what HTTP itself does. Each fake tells in whose scope it was called. */
import type { AnyElysia } from 'elysia';
import pino from 'pino';
import { type AppDeps, createApp } from '../../src/app.ts';
import type { AccessTokens, Principal, Role } from '../../src/contracts/index.ts';
import * as examples from '../../src/http/examples.ts';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import type { ApiServices } from '../../src/http/ports.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { type Scope, scopeIfAny } from '../../src/kernel/context.ts';

export const SECRET = 'a secret of more than thirty-two bytes';

export const OPERATOR_TOKEN = 'the-operators-own-token-of-this-test';

export const principal: Omit<Principal, 'expiresAt'> = {
  tenantId: examples.me.tenant.id,
  userId: examples.me.user.id,
  role: 'member',
  sessionId: Bun.randomUUIDv7(),
};

type Overrides = { [Name in keyof ApiServices]?: Partial<ApiServices[Name]> };

export interface HttpApp {
  app: AnyElysia;
  /** Lines of the log, parsed. */
  logged: Record<string, unknown>[];
  /** In whose scope each service was called, by `service.function`. */
  scopes: Map<string, Scope | undefined>;
  token(role?: Role): Promise<string>;
  /** A request by somebody with a valid token, unless `headers` says otherwise. */
  call(
    method: string,
    path: string,
    options?: { body?: BodyInit; headers?: Record<string, string> },
  ): Promise<Response>;
}

export const json = (value: unknown) => ({
  body: JSON.stringify(value),
  headers: { 'content-type': 'application/json' },
});

const page = <T>(item: T) => ({ items: [item], next_cursor: null });

const at = new Date(0);
const vectorStore = {
  id: examples.documentId,
  owner_id: examples.me.user.id,
  name: 'Handbooks',
  metadata: {},
  size: 5,
  files: { working: 0, ready: 1, failed: 0 },
  created_at: at,
  last_active_at: at,
};
const vectorStoreFile = {
  store_id: vectorStore.id,
  document_id: examples.documentId,
  filename: 'handbook.pdf',
  size: 5,
  status: 'ready' as const,
  error: null,
  attributes: {},
  batch_id: null,
  created_at: at,
};
const responseRow = {
  turn_id: examples.turn.id,
  previous_turn_id: null,
  background: true,
  created_at: at,
  turn: examples.turn,
};
const vectorStoreBatch = {
  id: vectorStore.id,
  store_id: vectorStore.id,
  files: vectorStore.files,
  created_at: at,
};

async function drain(stream: ReadableStream<Uint8Array> | Uint8Array | null): Promise<number> {
  if (stream instanceof Uint8Array) return stream.byteLength;
  let size = 0;
  for await (const bytes of stream ?? []) size += bytes.byteLength;
  return size;
}

function scriptedServices(tokens: AccessTokens): ApiServices {
  return {
    principals: { prove: (bearer) => tokens.verify(bearer), confirm: async (who) => who, witness: async () => null },
    members: {
      invite: async () => examples.newMember,
      list: async () => page(examples.member),
      setRole: async () => examples.member,
      remove: async () => undefined,
    },
    apiKeys: {
      create: async () => examples.newApiKey,
      list: async () => page(examples.apiKey),
      remove: async () => undefined,
    },
    memory: {
      list: async () => page(examples.fact),
      get: async () => examples.fact,
      create: async () => examples.fact,
      replace: async () => examples.fact,
      remove: async () => undefined,
    },
    settings: {
      get: async () => examples.userConfig,
      set: async () => examples.userConfig,
    },
    identity: {
      register: async () => examples.session,
      login: async () => examples.session,
      refresh: async () => examples.session,
      logout: async () => undefined,
      me: async () => examples.me,
    },
    uploads: {
      accept: async ({ body }) => {
        await drain(body);
        return { receipt: examples.receipt, created: true };
      },
    },
    sources: {
      create: async () => examples.syncedSource,
      list: async () => page(examples.syncedSource),
      get: async () => examples.syncedSource,
      items: async () => page(examples.sourceItem),
      sync: async () => examples.syncedSource,
      putFile: async () => examples.syncedSource,
      remove: async () => undefined,
    },
    resumable: {
      maxBytes: 3_000_000,
      create: async () => ({ ...examples.resumableUpload, metadata: '' }),
      get: async () => ({ ...examples.resumableUpload, metadata: '' }),
      append: async () => ({ ...examples.resumableUpload, metadata: '' }),
      remove: async () => undefined,
    },
    documents: {
      list: async () => page(examples.document),
      get: async () => examples.document,
      content: async () => ({
        stream: new Blob(['bytes']).stream(),
        filename: '手册 "1".pdf',
        mediaType: 'application/pdf',
        size: 5,
      }),
      text: async () => new Blob(['Größe 数据']).stream(),
      chunks: async () => page(examples.chunk),
      remove: async () => undefined,
    },
    chunkPreviews: { preview: async () => examples.chunkPreview },
    tasks: {
      get: async () => examples.task,
      list: async () => page(examples.task),
      retry: async () => examples.task,
      cancel: async () => examples.task,
      log: async () => page(examples.logLine),
    },
    search: { search: async () => ({ results: [examples.result], took_ms: 1.5 }) },
    conversations: {
      create: async () => examples.conversation,
      list: async () => page(examples.conversation),
      get: async () => examples.conversation,
      rename: async () => examples.conversation,
      remove: async () => undefined,
      messages: async () => page(examples.message),
      rate: async () => undefined,
      summary: async () => examples.conversationSummary,
    },
    chat: {
      send: async () => examples.turnReceipt,
      finished: async () => examples.turn,
      cancel: async () => examples.turn,
      turn: async () => examples.turn,
    },
    tickets: { issue: async () => ({ ticket: 'ticket', expires_in: 30 }) },
    erasures: {
      order: async () => examples.erasure,
      get: async () => examples.doneErasure,
      list: async () => page(examples.doneErasure),
      find: async () => examples.doneErasure,
    },
    exports: { start: async () => new Blob(['PK']).stream() },
    administration: {
      queue: async () => examples.queueState,
      deadLetters: async () => page(examples.deadLetter),
      replay: async () => examples.task,
    },
    spaces: {
      list: async () => page(examples.space),
      failures: async () => page(examples.spaceFailure),
      create: async () => examples.space,
      activate: async () => examples.space,
      rollback: async () => examples.space,
      retire: async () => examples.space,
    },
    webhooks: {
      create: async () => ({ ...examples.webhook, secret: 'whsec_' }),
      list: async () => page(examples.webhook),
      remove: async () => undefined,
      deliveries: async () => page(examples.delivery),
    },
    models: {
      list: async () => [{ id: 'a-model', owner: 'builtin' }],
      get: async (id) => ({ id, owner: 'builtin' }),
      answering: (requested) => requested,
    },
    responses: {
      create: async ({ request }) => ({
        response: { ...responseRow, request },
        parts: (async function* () {
          yield { type: 'ended' as const, turn: examples.turn };
        })(),
      }),
      get: async <T>() => ({ ...responseRow, request: { model: 'a-model', tools: [], metadata: {} } as T }),
      cancel: async <T>() => ({ ...responseRow, request: { model: 'a-model', tools: [], metadata: {} } as T }),
      read: async function* () {
        yield { type: 'ended' as const, turn: examples.turn };
      },
      remove: async () => undefined,
    },
    knowledge: {
      find: async () => [],
      read: async () => ({ document: examples.document, text: '', whole: true, origin: undefined }),
    },
    vectorStores: {
      create: async () => vectorStore,
      get: async () => vectorStore,
      list: async () => [vectorStore],
      change: async () => vectorStore,
      remove: async () => undefined,
      add: async () => vectorStoreFile,
      addBatch: async () => vectorStoreBatch,
      batch: async () => vectorStoreBatch,
      file: async () => vectorStoreFile,
      files: async () => [vectorStoreFile],
      describe: async () => vectorStoreFile,
      take: async () => undefined,
      search: async () => [],
      assertThere: async () => undefined,
    },
    asking: {
      ask: async () => ({
        turnId: examples.turn.id,
        parts: (async function* () {
          yield { type: 'text' as const, text: examples.turn.text };
          yield { type: 'ended' as const, turn: examples.turn };
        })(),
      }),
    },
    embedding: {
      embed: async (texts) => ({
        model: 'a-model',
        vectors: texts.map(() => Float32Array.of(0.6, -0.8)),
        tokens: texts.length,
      }),
    },
    usage: { report: async () => examples.usageReport },
    statistics: { tasks: async () => examples.taskStatistics, growth: async () => examples.growthStatistics },
    quotas: {
      get: async () => examples.quotas,
      set: async () => examples.quotas,
      grant: async () => examples.quotas,
    },
  };
}

/** The same service, whose functions note the scope they run in. */
function noteScopes<T extends object>(name: string, service: T, scopes: Map<string, Scope | undefined>): T {
  return new Proxy(service, {
    get(target, key) {
      const run: unknown = Reflect.get(target, key);
      if (typeof run !== 'function') return run;
      return (...args: unknown[]): unknown => {
        scopes.set(`${name}.${String(key)}`, scopeIfAny());
        return Reflect.apply(run, target, args);
      };
    },
  });
}

export function createHttpApp(overrides: Overrides = {}, deps: Partial<AppDeps> = {}): HttpApp {
  const logged: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const scopes = new Map<string, Scope | undefined>();
  const tokens = createAccessTokens({ secrets: [SECRET], clock: systemClock });
  const scripted = scriptedServices(tokens);
  const scripting = <Name extends keyof ApiServices>(name: Name): ApiServices[Name] =>
    noteScopes(name, { ...scripted[name], ...overrides[name] }, scopes);
  const services: ApiServices = {
    // Not noted: it says who is calling, for every request alike.
    principals: { ...scripted.principals, ...overrides.principals },
    members: scripting('members'),
    apiKeys: scripting('apiKeys'),
    memory: scripting('memory'),
    settings: scripting('settings'),
    identity: scripting('identity'),
    uploads: scripting('uploads'),
    resumable: scripting('resumable'),
    sources: scripting('sources'),
    documents: scripting('documents'),
    chunkPreviews: scripting('chunkPreviews'),
    tasks: scripting('tasks'),
    search: scripting('search'),
    conversations: scripting('conversations'),
    chat: scripting('chat'),
    tickets: scripting('tickets'),
    erasures: scripting('erasures'),
    exports: scripting('exports'),
    administration: scripting('administration'),
    quotas: scripting('quotas'),
    usage: scripting('usage'),
    statistics: scripting('statistics'),
    spaces: scripting('spaces'),
    webhooks: scripting('webhooks'),
    models: scripting('models'),
    asking: scripting('asking'),
    vectorStores: scripting('vectorStores'),
    knowledge: scripting('knowledge'),
    responses: scripting('responses'),
    embedding: scripting('embedding'),
  };
  const token = (role: Role = principal.role) => tokens.sign({ ...principal, role }, 900);
  const app = createApp({
    services,
    idempotency: {
      admit: async () => ({ type: 'run', running: { answered: async () => undefined, failed: async () => undefined } }),
    },
    isOperator: (presented) => presented === OPERATOR_TOKEN,
    hub: { subscribe: async () => () => undefined },
    control: { onEnded: () => () => undefined, onReconnected: () => () => undefined },
    clock: systemClock,
    health: { ready: async () => ({ status: 'ok', checks: { database: 'ok' } }) },
    metrics: { contentType: 'text/plain; version=0.0.4', metrics: async () => 'dreamhub_workers_busy 0\n' },
    metricsToken: 'metrics token',
    logger,
    allowedOrigins: ['https://friend.example'],
    maxUploadBytes: 3_000_000,
    version: '0',
    outside: [],
    ...deps,
  });
  return {
    app,
    logged,
    scopes,
    token,
    async call(method, path, { body, headers } = {}) {
      const all = { authorization: `Bearer ${await token()}`, ...headers };
      return app.handle(
        new Request(`http://localhost${path}`, { method, headers: all, ...(body !== undefined && { body }) }),
      );
    },
  };
}

/** The path of a route with an id in the place of each parameter. */
export function concrete(path: string): string {
  return path.replace('/spaces/:id', '/spaces/1').replace(/:[a-z]+/g, () => Bun.randomUUIDv7());
}
