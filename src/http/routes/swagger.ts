/**
 * Swagger UI at `/swagger` from the package's own files, and the OpenAPI document of every route of the root app at
 * `/swagger/json`. @elysiajs/swagger writes the document; its page, which loads from a CDN, is replaced by ours.
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { swagger } from '@elysiajs/swagger';
import { Elysia } from 'elysia';
import { AppError, ERROR_KINDS } from '../../kernel/errors.ts';
import { toOpenApi30 } from '../openapi.ts';
import { createStaticFile, pageHeaders, type StaticFile, serveFile } from '../static.ts';

export interface SwaggerOptions {
  version: string;
}

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>DreamHub API</title>
<link rel="icon" type="image/png" href="/swagger/assets/favicon-32x32.png">
<link rel="stylesheet" href="/swagger/assets/swagger-ui.css">
<link rel="stylesheet" href="/swagger/assets/index.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger/assets/swagger-ui-bundle.js"></script>
<script src="/swagger/assets/start.js"></script>
</body>
</html>
`;

const START = `SwaggerUIBundle({
  url: '/swagger/json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  docExpansion: 'list',
});
`;

const PACKAGE_FILES: Record<string, string> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'index.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
};

/** The UI sets style attributes from markup; its scripts are files, as everywhere. */
const HEADERS = pageHeaders({ 'style-src': "'self' 'unsafe-inline'" });

const ERROR_CODES = [
  ...new Set(Object.keys(ERROR_KINDS).map((kind) => (kind === 'malformed' ? 'invalid_request' : kind))),
];

const Problem = {
  type: 'object' as const,
  description: 'What went wrong (RFC 9457). `internal` says no more than its `trace_id`.',
  required: ['type', 'title', 'status', 'code', 'detail', 'trace_id'],
  properties: {
    type: { type: 'string' as const, example: 'about:blank' },
    title: { type: 'string' as const, example: 'Queue full' },
    status: { type: 'integer' as const, example: 429 },
    code: { type: 'string' as const, enum: ERROR_CODES, example: 'queue_full' },
    detail: { type: 'string' as const, example: 'This tenant has 10000 unfinished tasks; try again in 5 s.' },
    trace_id: { type: 'string' as const, pattern: '^[0-9a-f]{32}$', example: '4bf92f3577b34da6a3ce929d0e0e4736' },
    errors: {
      type: 'array' as const,
      items: {
        type: 'object' as const,
        required: ['path', 'message'],
        properties: { path: { type: 'string' as const }, message: { type: 'string' as const } },
      },
    },
  },
};

const problemAnswer = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
});

/** Below `/v1`. */
const OpenAiError = {
  description: "What went wrong, as OpenAI's API says it",
  content: {
    'application/json': {
      schema: {
        type: 'object' as const,
        properties: { error: { type: 'object' as const } },
        example: {
          error: { message: 'There is no such model.', type: 'invalid_request_error', param: null, code: 'not_found' },
        },
      },
    },
  },
};

/** Answers that any authenticated route may give; a route that describes its own keeps it. */
const COMMON_ERRORS = ['401', '429', '500'] as const;

const TAGS = [
  { name: 'auth', description: 'Accounts and tokens' },
  { name: 'members', description: 'Who is in the tenant, and API keys' },
  { name: 'documents', description: 'Upload, read, delete' },
  { name: 'sources', description: 'Documents that are pulled from elsewhere' },
  { name: 'tasks', description: 'What happens to an upload' },
  { name: 'search', description: 'Passages for a query' },
  { name: 'conversations', description: 'Conversations and their messages' },
  { name: 'chat', description: 'Questions and their answers' },
  { name: 'realtime', description: 'Tickets for the WebSocket' },
  { name: 'privacy', description: 'Erasing a user or a tenant, and taking the own data along' },
  { name: 'administration', description: 'The queue, its dead letters and its limits' },
  { name: 'webhooks', description: 'Telling other systems what happens' },
  {
    name: 'openai',
    description: "OpenAI's API over the same knowledge: any of its clients, with `/v1` as the base URL",
  },
  { name: 'operations', description: 'Health and metrics' },
  { name: 'console', description: 'The web console' },
];

export function createSwaggerRoutes({ version }: SwaggerOptions) {
  const generator = swagger({
    path: '/swagger',
    specPath: '/swagger/json',
    exclude: [/^\/swagger/, '/ws'],
    documentation: {
      info: {
        title: 'DreamHub',
        version,
        description:
          'Multi-tenant knowledge base and chat. REST is described here; answers and progress also arrive over the WebSocket at `/ws`.',
      },
      tags: TAGS,
      security: [{ bearerAuth: [] }],
      components: {
        securitySchemes: {
          bearerAuth: { type: 'http', scheme: 'bearer', description: 'The access token of a login, or an API key.' },
        },
        schemas: { Problem },
        responses: {
          Problem401: problemAnswer('Not authenticated'),
          Problem429: problemAnswer('Too many requests; `Retry-After` says when to try again'),
          Problem500: problemAnswer('Internal error'),
          OpenAiError,
        },
      },
    },
  });
  const documentRoute = generator.routes.find((route) => route.path === '/swagger/json');
  if (!documentRoute) throw new Error('@elysiajs/swagger no longer has its document at specPath.');
  const generate = documentRoute.handler as () => unknown;

  const files = new Map<string, Promise<StaticFile>>();
  files.set('start.js', Promise.resolve(textFile(START, 'text/javascript; charset=utf-8')));
  const page = textFile(PAGE, 'text/html; charset=utf-8');
  const hidden = { detail: { hide: true } };

  return (
    new Elysia({ name: 'routes.swagger' })
      // Mounted for its sight of the root's routes; both of its own are replaced below.
      .use(generator)
      .get('/swagger', ({ request }) => serveFile(page, request, 'revalidate', HEADERS), hidden)
      .get('/swagger/json', () => withIdempotencyKey(withCommonErrors(toOpenApi30(generate()))), hidden)
      .get(
        '/swagger/assets/:name',
        async ({ request, params }) => serveFile(await packageFile(files, params.name), request, 'revalidate'),
        hidden,
      )
  );
}

function textFile(text: string, type: string): StaticFile {
  return createStaticFile(new TextEncoder().encode(text), type);
}

/** Read at the first request: most servers are never asked for them. */
function packageFile(files: Map<string, Promise<StaticFile>>, name: string): Promise<StaticFile> {
  const known = files.get(name);
  if (known) return known;
  const type = Object.hasOwn(PACKAGE_FILES, name) ? PACKAGE_FILES[name] : undefined;
  if (type === undefined) throw new AppError('not_found', 'There is no such asset.');
  const folder = dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json')));
  const file = Bun.file(join(folder, name))
    .bytes()
    .then((bytes) => createStaticFile(bytes, type));
  files.set(name, file);
  return file;
}

const MUTATING = ['post', 'put', 'patch', 'delete'];
/** Open routes have no user whose key it would be; resumable uploads have offsets. */
const WITHOUT_KEY = /^\/api\/v1\/(?:auth\/(?:register|login|refresh)|uploads\/tus)/;

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description:
    'Any 1 to 255 printable characters, best a new UUID. Sent again within 24 hours with the same request, the first answer is repeated (`Idempotency-Replayed: true`) and nothing happens twice. With another request: 422. While the first still runs: 409 with `Retry-After`. Failures are not kept.',
  schema: { type: 'string', minLength: 1, maxLength: 255 },
  example: '8e03978e-40d5-43dd-bc93-6894a57f9324',
};

function withIdempotencyKey(document: ReturnType<typeof toOpenApi30>): ReturnType<typeof toOpenApi30> {
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    if (!/^\/(api\/)?v1\//.test(path) || WITHOUT_KEY.test(path)) continue;
    for (const [method, operation] of Object.entries(item as Record<string, { parameters?: unknown[] }>)) {
      if (MUTATING.includes(method)) operation.parameters = [...(operation.parameters ?? []), IDEMPOTENCY_KEY];
    }
  }
  return document;
}

function withCommonErrors(document: ReturnType<typeof toOpenApi30>): ReturnType<typeof toOpenApi30> {
  for (const item of Object.values(document.paths ?? {})) {
    for (const operation of Object.values(
      item as Record<string, { security?: unknown[]; responses: Record<string, unknown> }>,
    )) {
      const open = operation.security?.length === 0;
      for (const status of COMMON_ERRORS) {
        if (open && status === '401') continue;
        operation.responses[status] ??= { $ref: `#/components/responses/Problem${status}` };
      }
    }
  }
  return document;
}
