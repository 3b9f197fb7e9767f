/** `POST /mcp`: the Model Context Protocol over streamable HTTP, without sessions. */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { currentScope } from '../../kernel/context.ts';
import { AppError } from '../../kernel/errors.ts';
import type { Logger } from '../../kernel/logger.ts';
import type { Knowledge } from '../../services/knowledge.ts';
import { describe } from '../documentation.ts';
import { jsonBody } from '../json-body.ts';
import { addressOf } from '../origin.ts';
import { authenticated } from '../plugins/auth.ts';

const Call = Type.Object(
  { jsonrpc: Type.Literal('2.0'), method: Type.Optional(Type.String()) },
  {
    additionalProperties: true,
    example: {
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'search', arguments: { query: 'How many days of leave do I have?' } },
    },
  },
);

/** Loaded when it is first asked for. */
const tools = () => import('../mcp-tools.ts');

export function createMcpRoutes({
  knowledge,
  version,
  logger,
}: {
  knowledge: Knowledge;
  version: string;
  logger: Logger;
}) {
  return new Elysia({ name: 'routes.mcp' })
    .use(authenticated)
    .post(
      '/mcp',
      async ({ request, body, principal }) => {
        const { answerMcp } = await tools();
        const onFault = (err: unknown) => logger.error({ err }, 'a tool of /mcp failed');
        const caller = {
          principal,
          scope: currentScope(),
          address: addressOf(request),
          signal: request.signal,
          onFault,
        };
        return answerMcp(request, body, { knowledge, version, caller });
      },
      {
        parse: jsonBody,
        body: Call,
        detail: describe({
          tag: 'search',
          summary: 'Tools for other programs’ models (MCP)',
          description:
            'Streamable HTTP of the Model Context Protocol, without sessions: one JSON-RPC message a request, answered as JSON. Tools: `search` {query} → {results: [{id, title, url, text}]} and `fetch` {id} → {id, title, text, url, metadata}, over the documents that the caller may see.',
          answers: {
            200: {
              description: 'The message’s answer',
              schema: Type.Object({}, { additionalProperties: true }),
              example: {
                jsonrpc: '2.0',
                id: 1,
                result: { content: [{ type: 'text', text: '{"results":[]}' }], structuredContent: { results: [] } },
              },
            },
          },
          errors: ['malformed', 'invalid_request', 'payload_too_large', 'unsupported_media_type'],
        }),
      },
    )
    .get(
      '/mcp',
      () => {
        throw new AppError('malformed', 'There is no stream to listen to: POST answers by itself.', { status: 405 });
      },
      { detail: { hide: true } },
    );
}
