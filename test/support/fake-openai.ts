/**
 * A server that speaks OpenAI's wire format and misbehaves on demand. It answers deterministically: embeddings come from
 * the built-in hasher, a chat reply quotes the first passage of the prompt and cites it.
 *
 * Faults are queued: each request to a route takes the next fault of that route, or the standing one. The same control is
 * there in process (`fake.next(…)`, `fake.always(…)`) and over HTTP for child processes: `POST /__control
 * {route, fault, always?}`, `DELETE /__control`, `GET /__control` (the requests so far). Tests wait on `fake.waitFor(…)`.
 */
import { hashEmbedding } from '../../src/llm/builtin-embeddings.ts';

export type FakeRoute = 'embeddings' | 'chat' | 'models';

export type Fault =
  | { type: 'status'; status: number; retryAfter?: string; code?: string }
  /** A page with status 200, as a login wall or a misconfigured proxy sends. */
  | { type: 'html' }
  /** Accepts the request and says nothing until `release()` or the client leaves. */
  | { type: 'hang' }
  /** Chat: stops in the middle after so many tokens, with the connection open. */
  | { type: 'hang-mid'; tokens: number }
  /** Chat: ends the stream after so many tokens, without `finish_reason` and `[DONE]`. */
  | { type: 'truncate'; tokens: number }
  /** Chat: sends the whole answer and `finish_reason`, then neither usage nor `[DONE]`, with the connection open. */
  | { type: 'hang-after-finish' }
  /** Chat: an error object inside the stream. */
  | { type: 'error-mid'; tokens: number }
  /** Chat: sends each token only when `step()` is called. */
  | { type: 'stepwise' }
  /** Chat: a pause before each token; for black-box tests where nobody can call `step()`. */
  | { type: 'slow'; tokenMs: number }
  /** Embeddings: other dimensions than asked, one vector short, reversed order, zeros, ignores base64, cut base64. */
  | { type: 'dimensions'; dimensions: number }
  | { type: 'short' }
  | { type: 'reversed' }
  | { type: 'zeros' }
  | { type: 'floats' }
  | { type: 'broken-base64' }
  /** Embeddings: 413 for a request of more texts, as servers with a small batch answer. */
  | { type: 'most-texts'; texts: number };

export interface FakeRequest {
  readonly route: FakeRoute;
  readonly path: string;
  readonly key: string;
  readonly body: Record<string, unknown>;
  /** How it was treated; undefined where it got what it asked for. */
  fault: Fault['type'] | undefined;
  /** Content tokens sent so far. */
  tokensSent: number;
  /** Content tokens sent after the client had gone: what would have been billed in vain. */
  tokensAfterAbort: number;
  state: 'open' | 'done' | 'aborted';
}

/** What one key may do a minute; both fill steadily, as OpenAI's do. */
export interface FakeLimits {
  requests?: number;
  tokens?: number;
  /** Milliseconds; default the wall clock. */
  now?(): number;
}

export interface FakeOpenAi {
  /** `http://127.0.0.1:PORT/v1` */
  readonly url: string;
  /** `http://127.0.0.1:PORT/__control` */
  readonly controlUrl: string;
  readonly requests: readonly FakeRequest[];
  /** Queues faults, one a request. */
  next(route: FakeRoute, ...faults: Fault[]): void;
  /** A fault for every request without one of its own; `null` ends it. */
  always(route: FakeRoute, fault: Fault | null): void;
  /** Refuses this key on every route from now on. */
  failKey(key: string, fault: Fault | null): void;
  /** Sends each key its `x-ratelimit-…` headers from now on, and answers 429 past them; `null` ends it. */
  limitKeys(limits: FakeLimits | null): void;
  /** Lets requests that hang, or wait in mid-stream, go on. */
  release(): void;
  /** Lets each stepwise stream send one more token; remembered when none waits yet. */
  step(): void;
  /** Resolves with the first request, past or to come, for which the condition holds. */
  waitFor(condition: (request: FakeRequest) => boolean): Promise<FakeRequest>;
  /** Forgets requests and faults, and lets waiting ones go. */
  reset(): void;
  stop(): Promise<void>;
}

export interface FakeOpenAiOptions {
  port?: number;
  dimensions?: number;
  /** The whole reply of a chat; default: quotes the first passage. */
  reply?(body: Record<string, unknown>): string;
}

const MODELS = ['fake-chat', 'fake-embedding'];

export function startFakeOpenAi({
  port = 0,
  dimensions = 256,
  reply = defaultReply,
}: FakeOpenAiOptions = {}): FakeOpenAi {
  const requests: FakeRequest[] = [];
  const queued = new Map<FakeRoute, Fault[]>();
  const standing = new Map<FakeRoute, Fault>();
  const badKeys = new Map<string, Fault>();
  const watchers = new Set<() => void>();
  const gates = new Set<() => void>();
  const steps = new Set<() => void>();
  let allowed = 0;
  let limiter: ReturnType<typeof createLimiter> | undefined;

  const changed = (): void => {
    for (const watcher of watchers) watcher();
  };
  const releaseAll = (waiting: Set<() => void>): void => {
    for (const go of [...waiting]) go();
  };
  const wait = (waiting: Set<() => void>, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const go = () => {
        waiting.delete(go);
        signal.removeEventListener('abort', go);
        resolve();
      };
      waiting.add(go);
      signal.addEventListener('abort', go, { once: true });
      if (signal.aborted) go();
    });

  function faultFor(route: FakeRoute, key: string): Fault | undefined {
    return badKeys.get(key) ?? queued.get(route)?.shift() ?? standing.get(route);
  }

  async function serve(route: FakeRoute, request: Request): Promise<Response> {
    const body: unknown = request.method === 'POST' ? await request.json() : {};
    const record: FakeRequest = {
      route,
      path: new URL(request.url).pathname,
      key: request.headers.get('authorization')?.replace(/^Bearer /, '') ?? '',
      body: isRecord(body) ? body : {},
      fault: undefined,
      tokensSent: 0,
      tokensAfterAbort: 0,
      state: 'open',
    };
    const fault = faultFor(route, record.key);
    record.fault = fault?.type;
    requests.push(record);
    const gone = new AbortController();
    const leave = (): void => {
      if (record.state === 'open') record.state = 'aborted';
      gone.abort();
      changed();
    };
    request.signal.addEventListener('abort', leave, { once: true });
    changed();
    const finish = (response: Response): Response => {
      if (record.state === 'open') record.state = 'done';
      changed();
      return response;
    };
    const verdict = route === 'models' ? undefined : limiter?.(record.key, tokensIn(record.body));
    const limited = (response: Response): Response => {
      for (const [name, value] of Object.entries(verdict?.headers ?? {})) response.headers.set(name, value);
      return response;
    };
    if (verdict?.refused) {
      record.fault = 'status';
      return finish(limited(errorResponse({ type: 'status', status: 429, code: 'rate_limit_exceeded' })));
    }
    if (fault?.type === 'status') return finish(limited(errorResponse(fault)));
    if (fault?.type === 'html')
      return finish(
        new Response('<!doctype html><title>Sign in</title>', { headers: { 'content-type': 'text/html' } }),
      );
    if (fault?.type === 'hang') await wait(gates, gone.signal);
    if (route === 'models')
      return finish(
        Response.json({
          object: 'list',
          data: MODELS.map((id) => ({ id, object: 'model', created: 0, owned_by: 'fake' })),
        }),
      );
    if (fault?.type === 'most-texts') {
      const { input } = record.body;
      if (Array.isArray(input) && input.length > fault.texts)
        return finish(limited(errorResponse({ type: 'status', status: 413 })));
      record.fault = undefined;
    }
    if (route === 'embeddings') return finish(limited(embed(record.body, fault)));
    const text = reply(record.body);
    if (record.body['stream'] !== true) return finish(limited(Response.json(completion(record.body, text))));
    return limited(
      new Response(chatStream(record, text, fault, gone.signal, leave), {
        headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' },
      }),
    );
  }

  function embed(body: Record<string, unknown>, fault: Fault | undefined): Response {
    const input = Array.isArray(body['input']) ? body['input'].map(String) : [String(body['input'])];
    const asked = typeof body['dimensions'] === 'number' ? body['dimensions'] : dimensions;
    const size = fault?.type === 'dimensions' ? fault.dimensions : asked;
    const base64 = body['encoding_format'] === 'base64' && fault?.type !== 'floats';
    let data = input.map((text, index) => {
      // Real models do not always send unit vectors.
      const vector = hashEmbedding(text, size).map((value) => (fault?.type === 'zeros' ? 0 : value * 3));
      const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
      const encoded = bytes
        .subarray(0, fault?.type === 'broken-base64' ? bytes.length - 1 : bytes.length)
        .toString('base64');
      return { object: 'embedding', index, embedding: base64 ? encoded : Array.from(vector) };
    });
    if (fault?.type === 'short') data = data.slice(1);
    if (fault?.type === 'reversed') data = data.toReversed();
    const tokens = input.reduce((sum, text) => sum + tokensOf(text).length, 0);
    return Response.json({
      object: 'list',
      data,
      model: body['model'],
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    });
  }

  function chatStream(
    record: FakeRequest,
    text: string,
    fault: Fault | undefined,
    gone: AbortSignal,
    leave: () => void,
  ): ReadableStream<Uint8Array> {
    const encoder = new TextEncoder();
    const tokens = tokensOf(text);
    const limit = fault && 'tokens' in fault ? fault.tokens : tokens.length;
    const usage = {
      prompt_tokens: promptTokens(record.body),
      completion_tokens: tokens.length,
      total_tokens: promptTokens(record.body) + tokens.length,
    };
    const wantsUsage =
      isRecord(record.body['stream_options']) && record.body['stream_options']['include_usage'] === true;
    return new ReadableStream<Uint8Array>({
      async start(controller) {
        const send = (data: unknown): boolean => {
          if (gone.aborted) return false;
          controller.enqueue(encoder.encode(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`));
          return true;
        };
        const chunk = (delta: Record<string, unknown>, finish: string | null = null) => ({
          id: 'chatcmpl-fake',
          object: 'chat.completion.chunk',
          created: 0,
          model: record.body['model'],
          choices: [{ index: 0, delta, finish_reason: finish }],
          ...(wantsUsage && { usage: null }),
        });
        send(chunk({ role: 'assistant', content: '' }));
        for (const token of tokens.slice(0, limit)) {
          if (fault?.type === 'stepwise') while (record.tokensSent >= allowed && !gone.aborted) await wait(steps, gone);
          if (fault?.type === 'slow') await Bun.sleep(fault.tokenMs);
          if (!send(chunk({ content: token }))) {
            record.tokensAfterAbort += 1;
            changed();
            return;
          }
          record.tokensSent += 1;
          changed();
          // Bun sends what is enqueued in one turn of the event loop when that turn ends: a token a turn.
          await new Promise(setImmediate);
        }
        if (fault?.type === 'hang-mid') await wait(gates, gone);
        if (gone.aborted) return;
        if (fault?.type === 'error-mid')
          send({ error: { message: 'The server had an error.', type: 'server_error', code: null } });
        if (fault?.type !== 'truncate' && fault?.type !== 'error-mid') {
          send(chunk({}, 'stop'));
          if (fault?.type === 'hang-after-finish') {
            record.state = 'done';
            changed();
            await wait(gates, gone);
            return;
          }
          if (wantsUsage) send({ ...chunk({}), choices: [], usage });
          send('[DONE]');
        }
        record.state = 'done';
        controller.close();
        changed();
      },
      cancel: leave,
    });
  }

  async function control(request: Request): Promise<Response> {
    if (request.method === 'GET') return Response.json(requests);
    if (request.method === 'DELETE') {
      fake.reset();
      return new Response(null, { status: 204 });
    }
    const command: unknown = await request.json();
    if (!isControl(command)) return new Response('route and fault are needed', { status: 400 });
    if (command.action === 'release') fake.release();
    else if (command.action === 'step') fake.step();
    else if (command.key !== undefined) fake.failKey(command.key, command.fault ?? null);
    else if (command.route && command.always) fake.always(command.route, command.fault ?? null);
    else if (command.route && command.fault) fake.next(command.route, command.fault);
    return new Response(null, { status: 204 });
  }

  const server = Bun.serve({
    port,
    hostname: '127.0.0.1',
    idleTimeout: 0,
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === '/__control') return control(request);
      if (pathname.endsWith('/embeddings')) return serve('embeddings', request);
      if (pathname.endsWith('/chat/completions')) return serve('chat', request);
      if (pathname.endsWith('/models')) return serve('models', request);
      return errorResponse({ type: 'status', status: 404 });
    },
  });

  const fake: FakeOpenAi = {
    url: `http://127.0.0.1:${server.port}/v1`,
    controlUrl: `http://127.0.0.1:${server.port}/__control`,
    requests,
    next: (route, ...faults) => void queued.set(route, [...(queued.get(route) ?? []), ...faults]),
    always: (route, fault) => void (fault ? standing.set(route, fault) : standing.delete(route)),
    failKey: (key, fault) => void (fault ? badKeys.set(key, fault) : badKeys.delete(key)),
    limitKeys(limits) {
      limiter = limits ? createLimiter(limits) : undefined;
    },
    release: () => releaseAll(gates),
    step() {
      allowed += 1;
      releaseAll(steps);
    },
    waitFor: (condition) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = requests.find(condition);
          if (!found) return;
          watchers.delete(look);
          resolve(found);
        };
        watchers.add(look);
        look();
      }),
    reset() {
      queued.clear();
      standing.clear();
      badKeys.clear();
      limiter = undefined;
      requests.length = 0;
      allowed = Number.POSITIVE_INFINITY;
      releaseAll(gates);
      releaseAll(steps);
      allowed = 0;
    },
    async stop() {
      allowed = Number.POSITIVE_INFINITY;
      releaseAll(gates);
      releaseAll(steps);
      await server.stop(true);
    },
  };
  return fake;
}

interface Control {
  route?: FakeRoute;
  fault?: Fault | null;
  always?: boolean;
  key?: string;
  action?: 'release' | 'step';
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;
const isControl = (value: unknown): value is Control =>
  isRecord(value) && ('route' in value || 'key' in value || 'action' in value);

function errorResponse({
  status,
  retryAfter,
  code,
}: {
  type: 'status';
  status: number;
  retryAfter?: string;
  code?: string;
}): Response {
  return Response.json(
    { error: { message: `fake error ${status}`, type: 'fake', param: null, code: code ?? null } },
    { status, headers: retryAfter === undefined ? {} : { 'retry-after': retryAfter } },
  );
}

const MINUTE_MS = 60_000;

/** Takes a request's share of its key's buckets, and says what OpenAI's headers would. */
function createLimiter({ requests, tokens, now = Date.now }: FakeLimits) {
  const keys = new Map<string, { at: number; left: number[] }>();
  const limits = [requests ?? Number.POSITIVE_INFINITY, tokens ?? Number.POSITIVE_INFINITY];
  return (key: string, tokenCount: number): { refused: boolean; headers: Record<string, string> } => {
    const known = keys.get(key) ?? { at: now(), left: [...limits] };
    const needs = [1, tokenCount];
    const filled = limits.map((limit, index) =>
      Number.isFinite(limit)
        ? Math.min(limit, (known.left[index] ?? 0) + ((now() - known.at) * limit) / MINUTE_MS)
        : limit,
    );
    const refused = filled.some((left, index) => left + 1e-9 < (needs[index] ?? 0));
    const left = filled.map((amount, index) => (refused ? amount : amount - (needs[index] ?? 0)));
    keys.set(key, { at: now(), left });
    const headers: Record<string, string> = {};
    for (const [index, kind] of ['requests', 'tokens'].entries()) {
      const limit = limits[index] ?? 0;
      const amount = left[index] ?? 0;
      if (!Number.isFinite(limit)) continue;
      headers[`x-ratelimit-limit-${kind}`] = String(limit);
      headers[`x-ratelimit-remaining-${kind}`] = String(Math.floor(amount));
      headers[`x-ratelimit-reset-${kind}`] = durationOf(((limit - amount) * MINUTE_MS) / limit);
    }
    return { refused, headers };
  };
}

/** As Go prints it, and OpenAI sends it: `6m0s`, `1.5s`, `120ms`. */
function durationOf(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)}ms`;
  const minutes = Math.floor(ms / MINUTE_MS);
  const seconds = `${Number(((ms - minutes * MINUTE_MS) / 1_000).toFixed(3))}s`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}

/** Of the request, as it is charged before the answer is known. */
const tokensIn = (body: Record<string, unknown>): number =>
  [body['input'] ?? []]
    .flat()
    .concat(messagesOf(body))
    .reduce<number>((sum, text) => sum + tokensOf(String(text)).length, 0);

function completion(body: Record<string, unknown>, text: string): Record<string, unknown> {
  const prompt = promptTokens(body);
  const tokens = tokensOf(text).length;
  return {
    id: 'chatcmpl-fake',
    object: 'chat.completion',
    created: 0,
    model: body['model'],
    choices: [
      { index: 0, message: { role: 'assistant', content: text, refusal: null }, logprobs: null, finish_reason: 'stop' },
    ],
    usage: { prompt_tokens: prompt, completion_tokens: tokens, total_tokens: prompt + tokens },
  };
}

function messagesOf(body: Record<string, unknown>): string[] {
  const messages = Array.isArray(body['messages']) ? body['messages'] : [];
  return messages.map((message: unknown) =>
    isRecord(message) && typeof message['content'] === 'string' ? message['content'] : '',
  );
}

const promptTokens = (body: Record<string, unknown>): number =>
  messagesOf(body).reduce((sum, content) => sum + tokensOf(content).length, 0);

/** Quotes the first passage of the prompt word for word, up to its first sentence end, and cites it. */
function defaultReply(body: Record<string, unknown>): string {
  const passage = /<passage-\S+ n="(\d+)"[^\n]*>\n([\s\S]*?)\n<\/passage-/.exec(messagesOf(body).at(-1) ?? '');
  if (!passage) return 'The documents do not say.';
  const sentence = /^[\s\S]*?[.!?。！？](?=\s|$|[\p{Script=Han}])/u.exec(passage[2] ?? '')?.[0] ?? passage[2] ?? '';
  return `According to your documents: ${sentence} [${passage[1]}]`;
}

const tokensOf = (text: string): string[] =>
  text.match(
    /\s*[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|\s*[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]+|\s+/gu,
  ) ?? [];

if (import.meta.main) process.stdout.write(`${startFakeOpenAi({ port: Number(process.argv[2] ?? 0) }).url}\n`);
