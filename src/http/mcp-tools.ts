/**
 * What DreamHub offers by the Model Context Protocol: `search` and `fetch`, in the forms that connectors of chat programs
 * expect (each answer as structured content, and the same as JSON text). Loaded with the first request that asks for them.
 */
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import {
  CallToolRequestSchema,
  type CallToolResult,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
  type Tool,
} from '@modelcontextprotocol/sdk/types.js';
import type { Principal } from '../contracts/index.ts';
import { runAs, type Scope } from '../kernel/context.ts';
import { AppError, toAppError } from '../kernel/errors.ts';
import { isUuid } from '../kernel/ids.ts';
import type { Knowledge } from '../services/knowledge.ts';

export interface McpCaller {
  principal: Principal;
  scope: Scope;
  /** Where the caller reached us, `https://host`. */
  address: string;
  signal: AbortSignal;
  /** Told what went wrong on our side. */
  onFault(error: unknown): void;
}

const text = { type: 'string' } as const;
const MOST_QUERY = 8_000;
const readOnly = { readOnlyHint: true, idempotentHint: true, openWorldHint: false };

const TOOLS: Tool[] = [
  {
    name: 'search',
    title: 'Search the knowledge base',
    description: 'Finds the documents that say most about a query. Read one of them whole with `fetch` and its id.',
    inputSchema: {
      type: 'object',
      properties: { query: { ...text, description: 'A question, or words', minLength: 1, maxLength: MOST_QUERY } },
      required: ['query'],
    },
    outputSchema: {
      type: 'object',
      properties: {
        results: {
          type: 'array',
          items: {
            type: 'object',
            properties: { id: text, title: text, url: text, text: { ...text, description: 'The best passage' } },
            required: ['id', 'title', 'url'],
          },
        },
      },
      required: ['results'],
    },
    annotations: readOnly,
  },
  {
    name: 'fetch',
    title: 'Read a document',
    description: 'The whole text of a document that `search` found.',
    inputSchema: {
      type: 'object',
      properties: { id: { ...text, description: 'As `search` gave it' } },
      required: ['id'],
    },
    outputSchema: {
      type: 'object',
      properties: { id: text, title: text, text, url: text, metadata: { type: 'object', additionalProperties: true } },
      required: ['id', 'title', 'text', 'url'],
    },
    annotations: readOnly,
  },
];

const answer = (structuredContent: Record<string, unknown>): CallToolResult => ({
  content: [{ type: 'text', text: JSON.stringify(structuredContent) }],
  structuredContent,
});

/** An error that the model is to read, so that it can do something else. */
const refusal = (message: string): CallToolResult => ({ content: [{ type: 'text', text: message }], isError: true });

function argument(given: Record<string, unknown> | undefined, name: string): string {
  const value = given?.[name];
  if (typeof value !== 'string' || value.trim() === '' || value.length > MOST_QUERY) {
    throw new McpError(ErrorCode.InvalidParams, `${name} must be a text of 1 to ${MOST_QUERY} characters`);
  }
  return value;
}

function createTools(knowledge: Knowledge, { principal, address, signal }: McpCaller) {
  const addressFor = (id: string, origin: string | undefined) => origin ?? `${address}/api/v1/documents/${id}/content`;
  return {
    async search(given: Record<string, unknown> | undefined): Promise<CallToolResult> {
      const found = await knowledge.find(argument(given, 'query'), principal, signal);
      return answer({
        results: found.map(({ id, title, text, origin }) => ({ id, title, url: addressFor(id, origin), text })),
      });
    },

    async fetch(given: Record<string, unknown> | undefined): Promise<CallToolResult> {
      const id = argument(given, 'id');
      if (!isUuid(id)) throw new AppError('not_found', 'There is no such document.');
      const { document, text, whole, origin } = await knowledge.read(id.toLowerCase(), principal);
      const { title, filename, media_type, source_type, pages, created_at, metadata } = document;
      const about = { filename, media_type, source_type, pages, created_at, ...metadata };
      return answer({
        id: document.id,
        title,
        text,
        url: addressFor(document.id, origin),
        metadata: { ...about, ...(!whole && { truncated: true }) },
      });
    },
  };
}

/** One request, answered by itself: nothing is kept between two of them. `body` is what the request said, parsed. */
export async function answerMcp(
  request: Request,
  body: unknown,
  { knowledge, version, caller }: { knowledge: Knowledge; version: string; caller: McpCaller },
): Promise<Response> {
  const tools = createTools(knowledge, caller);
  const server = new Server({ name: 'dreamhub', version }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: TOOLS }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params: { name, arguments: given } }) => {
    if (name !== 'search' && name !== 'fetch') throw new McpError(ErrorCode.InvalidParams, `There is no tool ${name}`);
    try {
      // Whoever reads the message may be another context than that of the request.
      return await runAs(caller.scope, () => tools[name](given));
    } catch (error) {
      if (error instanceof McpError) throw error;
      const known = toAppError(error);
      if (known.kind === 'internal') caller.onFault(error);
      return refusal(known.message);
    }
  });
  const transport = new WebStandardStreamableHTTPServerTransport({ enableJsonResponse: true });
  await server.connect(transport);
  const close = () => void server.close();
  caller.signal.addEventListener('abort', close, { once: true });
  try {
    return await transport.handleRequest(request, { parsedBody: body });
  } finally {
    caller.signal.removeEventListener('abort', close);
    await server.close();
  }
}
