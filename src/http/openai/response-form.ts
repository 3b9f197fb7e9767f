/** A response as OpenAI's API tells it. */
import type { TurnResource } from '../../contracts/index.ts';
import type { KnownResponse } from '../../services/responses.ts';
import type { StoreHit } from '../../services/vector-stores.ts';
import { type Citation, toTextAnnotation } from './annotations.ts';
import { toFileId, toResponseId } from './ids.ts';
import { seconds } from './lists.ts';
import type { ResponseRequest } from './response-body.ts';

const STATES: Record<TurnResource['status'], string> = {
  queued: 'queued',
  running: 'in_progress',
  completed: 'completed',
  failed: 'failed',
  cancelled: 'cancelled',
};
/** The only words for it that clients of that API know. */
const CAUSES: Record<string, string> = { rate_limited: 'rate_limit_exceeded', quota_exceeded: 'rate_limit_exceeded' };

export type OutputItem = ReturnType<typeof toMessage> | ReturnType<typeof toSearchCall>;

export const toPart = (text: string, citations: readonly Citation[]) => ({
  type: 'output_text',
  text,
  annotations: citations.map(toTextAnnotation),
  logprobs: [],
});

export const toMessage = (turnId: string, status: string, content: ReturnType<typeof toPart>[]) => ({
  id: `msg_${turnId}`,
  type: 'message',
  role: 'assistant',
  status,
  content,
});

/** `hits`: undefined where nobody asked for them. */
export const toSearchCall = (
  turnId: string,
  status: string,
  { question }: ResponseRequest,
  hits: readonly StoreHit[] | undefined,
) => ({
  id: `fs_${turnId}`,
  type: 'file_search_call',
  status,
  queries: [question],
  results:
    hits?.map(({ hit, attributes }) => ({
      file_id: toFileId(hit.document_id),
      filename: hit.title,
      score: hit.score,
      text: hit.text,
      attributes,
    })) ?? null,
});

export function toResponse(
  { turn, request, background, previous_turn_id: previous, created_at: at }: KnownResponse<ResponseRequest>,
  { model, stored, output }: { model: string; stored: boolean; output: readonly OutputItem[] },
) {
  const { status, error, usage } = turn;
  const { prompt_tokens: input, completion_tokens: written } = usage;
  const hasEnded = status !== 'queued' && status !== 'running';
  return {
    id: toResponseId(turn.id),
    object: 'response',
    created_at: seconds(at),
    status: STATES[status],
    background,
    error:
      status === 'failed' ? { code: CAUSES[error?.code ?? ''] ?? 'server_error', message: error?.message ?? '' } : null,
    incomplete_details: null,
    instructions: request.instructions,
    max_output_tokens: null,
    metadata: request.metadata,
    model,
    output,
    parallel_tool_calls: true,
    previous_response_id: previous === null ? null : toResponseId(previous),
    reasoning: { effort: null, summary: null },
    store: stored,
    temperature: null,
    text: { format: { type: 'text' } },
    tool_choice: 'auto',
    tools: request.tools,
    top_p: null,
    truncation: 'disabled',
    usage: hasEnded
      ? {
          input_tokens: input,
          input_tokens_details: { cached_tokens: 0 },
          output_tokens: written,
          output_tokens_details: { reasoning_tokens: 0 },
          total_tokens: input + written,
        }
      : null,
  };
}
