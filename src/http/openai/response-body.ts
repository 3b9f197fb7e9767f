/** What `POST /v1/responses` takes, and what of it a turn is made of. */
import { type Static, Type } from '@sinclair/typebox';
import type { SearchFilter } from '../../contracts/index.ts';
import { oneOf } from '../models/one-of.ts';
import { ResponseId, rowOf, StoreId } from './ids.ts';
import { Content, type Message, type Said, saidIn, unsupported } from './messages.ts';
import { optional, Parameters } from './parameters.ts';
import { StoreFilter, toMetadataFilter } from './store-filter.ts';
import { Metadata } from './vector-store-forms.ts';

const MOST_ITEMS = 2_048;
const MOST_STORES = 10;

/** A message; or an item of an earlier output, which its client sends back. */
const Item = Type.Object({
  type: optional(Type.String()),
  role: optional(oneOf(['system', 'developer', 'user', 'assistant'])),
  content: optional(Content),
});

const FileSearch = Type.Object({
  type: Type.String(),
  vector_store_ids: optional(Type.Array(StoreId, { minItems: 1, maxItems: MOST_STORES })),
  filters: Type.Optional(StoreFilter),
  max_num_results: optional(Type.Integer({ minimum: 1, maximum: 50 })),
  ranking_options: optional(Type.Unknown()),
});

export const ResponseBody = Parameters(
  {
    model: Type.String({ minLength: 1, maxLength: 200 }),
    input: Type.Union([Type.String({ minLength: 1 }), Type.Array(Item, { minItems: 1, maxItems: MOST_ITEMS })]),
    instructions: optional(Type.String()),
    previous_response_id: optional(ResponseId),
    stream: optional(Type.Boolean()),
    stream_options: optional(Type.Unknown()),
    background: optional(Type.Boolean()),
    store: optional(Type.Boolean()),
    metadata: optional(Metadata),
    include: optional(Type.Array(Type.String())),
    tools: optional(Type.Array(FileSearch, { maxItems: 16 })),
    tool_choice: optional(Type.Unknown()),
    parallel_tool_calls: optional(Type.Boolean()),
    text: optional(Type.Object({ format: optional(Type.Object({ type: Type.String() })) })),
    user: optional(Type.String()),
    safety_identifier: optional(Type.String()),
    prompt_cache_key: optional(Type.String()),
    prompt_cache_retention: optional(Type.String()),
    // Taken, and of no effect: the house's own settings decide how an answer is worded and how long it is.
    max_output_tokens: optional(Type.Integer({ minimum: 1 })),
    max_tool_calls: optional(Type.Integer()),
    temperature: optional(Type.Number({ minimum: 0, maximum: 2 })),
    top_p: optional(Type.Number({ minimum: 0, maximum: 1 })),
    top_logprobs: optional(Type.Integer()),
    reasoning: optional(Type.Unknown()),
    truncation: optional(Type.String()),
    service_tier: optional(Type.String()),
    // Refused where it asks for anything.
    conversation: optional(Type.Unknown()),
    prompt: optional(Type.Unknown()),
  },
  {
    example: {
      model: 'gpt-4o-mini',
      input: 'How many days of leave do I have?',
      tools: [{ type: 'file_search', vector_store_ids: ['vs_01985f2c-40aa-7be5-93d0-a1b2c3d4e00a'] }],
    },
  },
);
export type ResponseBody = Static<typeof ResponseBody>;

/** What a response remembers of its request: what its client is told back, and what searching again needs. */
export interface ResponseRequest {
  model: string;
  question: string;
  instructions: string | null;
  metadata: Record<string, string>;
  tools: Static<typeof FileSearch>[];
}

/** Throws `invalid_request` for what is refused by name rather than answered without it. */
export function assertSupported({ tools, background, store, conversation, prompt, text }: ResponseBody): void {
  for (const [at, { type, vector_store_ids: stores }] of (tools ?? []).entries()) {
    if (type !== 'file_search') throw unsupported(`tools/${at}/type`, `${type} is not supported: only file_search is`);
    if (!stores) throw unsupported(`tools/${at}/vector_store_ids`, 'Required');
    if (at > 0) throw unsupported(`tools/${at}`, 'One file_search is supported');
  }
  if (background === true && store === false) throw unsupported('background', 'It needs store to be true');
  if (conversation !== undefined && conversation !== null) throw unsupported('conversation', 'Not supported');
  if (prompt !== undefined && prompt !== null) throw unsupported('prompt', 'Not supported');
  if (text?.format && text.format.type !== 'text') throw unsupported('text/format', 'Only text can be had');
}

/** Items of an earlier output that say nothing by themselves. */
const SILENT: ReadonlySet<string> = new Set(['file_search_call', 'reasoning', 'item_reference']);

export function saidInInput({ input, instructions }: Pick<ResponseBody, 'input' | 'instructions'>): Said {
  const wishes: Message[] = instructions ? [{ role: 'system', content: instructions }] : [];
  if (typeof input === 'string') return saidIn([...wishes, { role: 'user', content: input }], 'input');
  const messages = input.flatMap(({ type, role, content }, at): Message[] => {
    if (type !== undefined && type !== null && type !== 'message') {
      if (SILENT.has(type)) return [];
      throw unsupported(`input/${at}/type`, `${type} is not supported`);
    }
    if (role === undefined || role === null) throw unsupported(`input/${at}/role`, 'Required');
    return [{ role, ...(content !== undefined && { content }) }];
  });
  return saidIn([...wishes, ...messages], 'input');
}

/** Where to look: in the stores that the tool names, or everywhere. */
export function filterOf(tools: ResponseRequest['tools']): SearchFilter {
  const [tool] = tools;
  if (!tool) return {};
  const attributes = toMetadataFilter(tool.filters);
  return { stores: { ids: (tool.vector_store_ids ?? []).map(rowOf), ...(attributes && { attributes }) } };
}
