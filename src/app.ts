/**
 * The HTTP side of the process, put together: plugins around everything, then the API, then what others made (console,
 * Swagger, the WebSocket). It does not listen; `lifecycle.ts` does.
 *
 * Plugins that wrap run from the last used to the first: headers, log, CORS, then credentials next to the handlers. The
 * error renderer comes before every route, because a hook reaches only what is registered after it.
 */
import { type AnyElysia, Elysia } from 'elysia';
import type { Hub } from './contracts/index.ts';
import type { StreamTopic } from './http/chat-answers.ts';
import { registerKinds } from './http/kinds.ts';
import { createOpenAiRoutes } from './http/openai/routes.ts';
import { accessLogPlugin } from './http/plugins/access-log.ts';
import { authPlugin } from './http/plugins/auth.ts';
import { bodyLimitPlugin } from './http/plugins/body-limit.ts';
import { corsPlugin } from './http/plugins/cors.ts';
import { createErrorRenderer, errorsPlugin } from './http/plugins/errors.ts';
import { idempotencyPlugin } from './http/plugins/idempotency.ts';
import { responseHeadersPlugin } from './http/plugins/response-headers.ts';
import { tusHeadersPlugin } from './http/plugins/tus-headers.ts';
import { urlPlugin } from './http/plugins/url.ts';
import type { ApiServices, HealthPort, MetricsPort } from './http/ports.ts';
import { createAdminRoutes } from './http/routes/admin.ts';
import { createAdminSpacesRoutes } from './http/routes/admin-spaces.ts';
import { createAdminStatsRoutes } from './http/routes/admin-stats.ts';
import { createApiKeyRoutes } from './http/routes/api-keys.ts';
import { createAuthRoutes } from './http/routes/auth.ts';
import { createChatRoutes } from './http/routes/chat.ts';
import { createChunkingRoutes } from './http/routes/chunking.ts';
import { createConversationRoutes } from './http/routes/conversations.ts';
import { createDocumentRoutes } from './http/routes/documents.ts';
import { createHealthRoutes } from './http/routes/health.ts';
import { createMcpRoutes } from './http/routes/mcp.ts';
import { createMeRoutes } from './http/routes/me.ts';
import { createMemberRoutes } from './http/routes/members.ts';
import { createMemoryRoutes } from './http/routes/memory.ts';
import { createMessageRoutes } from './http/routes/messages.ts';
import { createPrivacyRoutes } from './http/routes/privacy.ts';
import { createQuotaRoutes } from './http/routes/quotas.ts';
import { createSearchRoutes } from './http/routes/search.ts';
import { createSourceRoutes } from './http/routes/sources.ts';
import { createTaskRoutes } from './http/routes/tasks.ts';
import { createTicketRoutes } from './http/routes/tickets.ts';
import { streamTopicAsSse } from './http/routes/turn-events.ts';
import { createTurnRoutes } from './http/routes/turns.ts';
import { createTusRoutes } from './http/routes/tus.ts';
import { createUploadRoutes } from './http/routes/upload.ts';
import { createUsageRoutes } from './http/routes/usage.ts';
import { createUserConfigRoutes } from './http/routes/user-config.ts';
import { createWebhookRoutes } from './http/routes/webhooks.ts';
import { createSessionEnd, type SessionEndOptions } from './http/session-end.ts';
import type { Clock } from './kernel/clock.ts';
import type { Logger } from './kernel/logger.ts';
import type { Idempotency } from './services/idempotency.ts';

export interface BaseAppDeps {
  health: HealthPort;
  metrics: MetricsPort;
  metricsToken: string | undefined;
  logger: Logger;
}

export interface AppDeps extends BaseAppDeps {
  isOperator(token: string): boolean;
  services: ApiServices;
  idempotency: Idempotency;
  hub: Hub;
  control: SessionEndOptions['control'];
  clock: Clock;
  allowedOrigins: readonly string[];
  maxUploadBytes: number;
  /** Of DreamHub, as clients are told it. */
  version: string;
  /** Routes outside `/api/v1`: the console, Swagger, the WebSocket. */
  outside: readonly AnyElysia[];
  /** Of Bun's sockets; Elysia takes them from the root instance alone. */
  websocket?: NonNullable<ConstructorParameters<typeof Elysia>[0]>['websocket'];
}

/** Silence after which the server takes a connection for dead; routes that wait longer say so. */
const IDLE_SECONDS = 60;
/** Ours must refuse first: the server's own 413 has no body (`plugins/body-limit.ts`). */
const NO_BODY_LIMIT = Number.MAX_SAFE_INTEGER;

function createRoot({ logger }: BaseAppDeps, websocket?: AppDeps['websocket']) {
  registerKinds();
  const render = createErrorRenderer({ logger });
  const root = new Elysia({
    name: 'root',
    // The path is cut out of the address by position; without this a short `Host` would shift it.
    handler: { standardHostname: false },
    serve: { maxRequestBodySize: NO_BODY_LIMIT, idleTimeout: IDLE_SECONDS, development: false },
    ...(websocket && { websocket }),
  });
  return { root: root.use(errorsPlugin({ render })), render };
}

/** What a process serves that has no API of its own: the worker role. */
export function createWorkerApp(deps: BaseAppDeps): AnyElysia {
  const { root, render } = createRoot(deps);
  return root
    .use(accessLogPlugin({ logger: deps.logger, render }))
    .use(responseHeadersPlugin)
    .use(createHealthRoutes(deps));
}

export function createApp(deps: AppDeps): AnyElysia {
  const { services, hub, clock } = deps;
  const sessionEnd = createSessionEnd({ control: deps.control, principals: services.principals, clock });
  const streamTopic: StreamTopic = ({ principal, ...stream }) =>
    streamTopicAsSse({ hub, clock, ...stream, whenRefused: (end) => sessionEnd(principal, end) });
  const { root, render } = createRoot(deps, deps.websocket);
  const app = root
    // Before the credentials, so that it runs inside of them.
    .use(idempotencyPlugin(deps))
    .use(authPlugin({ principals: services.principals, isOperator: deps.isOperator }))
    .use(urlPlugin)
    .use(tusHeadersPlugin)
    .use(bodyLimitPlugin(deps))
    .use(corsPlugin(deps))
    .use(accessLogPlugin({ logger: deps.logger, render }))
    .use(responseHeadersPlugin)
    .use(createHealthRoutes(deps))
    .group('/api/v1', (api) =>
      api
        .use(createAuthRoutes(services))
        .use(createMeRoutes(services))
        .use(createMemberRoutes(services))
        .use(createApiKeyRoutes(services))
        .use(createUserConfigRoutes(services))
        .use(createUploadRoutes(services))
        .use(createTusRoutes(services))
        .use(createDocumentRoutes(services))
        .use(createChunkingRoutes(services))
        .use(createTaskRoutes(services))
        .use(createSearchRoutes(services))
        .use(createConversationRoutes(services))
        .use(createMessageRoutes(services))
        .use(createMemoryRoutes(services))
        .use(createChatRoutes({ chat: services.chat, streamTopic }))
        .use(createTurnRoutes({ chat: services.chat, streamTopic }))
        .use(createTicketRoutes(services))
        .use(createPrivacyRoutes(services))
        .use(createQuotaRoutes(services))
        .use(createUsageRoutes(services))
        .use(createAdminRoutes(services))
        .use(createAdminSpacesRoutes(services))
        .use(createAdminStatsRoutes(services))
        .use(createWebhookRoutes(services))
        .use(createSourceRoutes(services)),
    )
    .use(createOpenAiRoutes({ ...services, clock }))
    .use(createMcpRoutes({ ...services, version: deps.version, logger: deps.logger }));
  return deps.outside.reduce((all, routes) => all.use(routes), app as AnyElysia);
}
