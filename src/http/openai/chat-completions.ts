/**
 * `POST /v1/chat/completions`: a question over the tenant's documents, with what the client says was said before. It is a
 * turn like every other (`services/asking.ts`), so limits, quotas and citations are those of `POST /chat`; since nobody can
 * come back to a completion, it ends when its client goes.
 */
import { type Static, Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import type { Principal, TurnResource } from '../../contracts/index.ts';
import type { Clock } from '../../kernel/clock.ts';
import { toAppError } from '../../kernel/errors.ts';
import { estimateTokens } from '../../kernel/text/tokens.ts';
import { type Asking, assertAnswered } from '../../services/asking.ts';
import type { ModelCatalogue } from '../../services/model-catalogue.ts';
import type { TurnPart } from '../../services/turn-reading.ts';
import { jsonBody } from '../json-body.ts';
import { waitWithoutLimit } from '../patience.ts';
import { authenticated } from '../plugins/auth.ts';
import type { DocumentsPort } from '../ports.ts';
import { stateOf } from '../request-state.ts';
import { citationsOf, toMessageAnnotation } from './annotations.ts';
import { describeOpenAi } from './documentation.ts';
import { toOpenAiError } from './errors.ts';
import { eventStream } from './event-stream.ts';
import { toCompletionId } from './ids.ts';
import { Message, saidIn, unsupported } from './messages.ts';
import { optional, Parameters } from './parameters.ts';
import { createTextLimit } from './text-limit.ts';

const MOST_MESSAGES = 2_048;
const MOST_STOPS = 4;
const Stop = Type.String({ minLength: 1, maxLength: 200 });

const CompletionBody = Parameters(
  {
    model: Type.String({ minLength: 1, maxLength: 200 }),
    messages: Type.Array(Message, { minItems: 1, maxItems: MOST_MESSAGES }),
    stream: optional(Type.Boolean()),
    stream_options: optional(
      Type.Object({
        include_usage: optional(Type.Boolean()),
        include_obfuscation: optional(Type.Boolean()),
      }),
    ),
    max_tokens: optional(Type.Integer({ minimum: 1 })),
    max_completion_tokens: optional(Type.Integer({ minimum: 1 })),
    stop: optional(Type.Union([Stop, Type.Array(Stop, { maxItems: MOST_STOPS })])),
    n: optional(Type.Integer()),
    // Taken, and of no effect: the house's own settings decide how an answer is worded.
    temperature: optional(Type.Number({ minimum: 0, maximum: 2 })),
    top_p: optional(Type.Number({ minimum: 0, maximum: 1 })),
    presence_penalty: optional(Type.Number({ minimum: -2, maximum: 2 })),
    frequency_penalty: optional(Type.Number({ minimum: -2, maximum: 2 })),
    logit_bias: optional(Type.Unknown()),
    seed: optional(Type.Integer()),
    user: optional(Type.String()),
    safety_identifier: optional(Type.String()),
    prompt_cache_key: optional(Type.String()),
    prompt_cache_retention: optional(Type.String()),
    metadata: optional(Type.Unknown()),
    store: optional(Type.Boolean()),
    service_tier: optional(Type.String()),
    reasoning_effort: optional(Type.String()),
    verbosity: optional(Type.String()),
    tool_choice: optional(Type.Unknown()),
    parallel_tool_calls: optional(Type.Boolean()),
    // Refused where they ask for anything: see `assertSupported`.
    tools: optional(Type.Array(Type.Unknown())),
    functions: optional(Type.Array(Type.Unknown())),
    function_call: optional(Type.Unknown()),
    logprobs: optional(Type.Boolean()),
    top_logprobs: optional(Type.Integer()),
    modalities: optional(Type.Array(Type.String())),
    audio: optional(Type.Unknown()),
    prediction: optional(Type.Unknown()),
    web_search_options: optional(Type.Unknown()),
    response_format: optional(Type.Object({ type: Type.String() })),
  },
  { example: { model: 'gpt-4o-mini', messages: [{ role: 'user', content: 'How many days of leave do I have?' }] } },
);
type CompletionBody = Static<typeof CompletionBody>;

/** What no model behind DreamHub is asked for is refused by name, rather than answered without it. */
function assertSupported(body: CompletionBody): void {
  const { n, tools, functions, logprobs, top_logprobs: top, modalities, response_format: format } = body;
  if (n !== undefined && n !== null && n !== 1) throw unsupported('n', 'Only one choice can be had');
  if (tools?.length) throw unsupported('tools', 'Tools are not supported');
  if (functions?.length) throw unsupported('functions', 'Functions are not supported');
  if (logprobs === true || (top ?? 0) > 0) throw unsupported('logprobs', 'Log probabilities cannot be had');
  if (modalities?.some((one) => one !== 'text')) throw unsupported('modalities', 'Only text can be had');
  if (format && format.type !== 'text') throw unsupported('response_format', 'Only text can be had');
  for (const name of ['audio', 'prediction', 'web_search_options'] as const) {
    if (body[name] !== undefined && body[name] !== null) throw unsupported(name, 'Not supported');
  }
}

/** The next part of an answer, as its client is to have it. */
type Piece = { text: string } | { finish: 'stop' | 'length'; text: string; turn: TurnResource | undefined };

/** The answer up to where the client wants it to end; what comes after that is not waited for, and cancelled. */
async function* limited(parts: AsyncGenerator<TurnPart>, body: CompletionBody): AsyncGenerator<Piece> {
  const { max_completion_tokens: most, max_tokens: mostBefore, stop } = body;
  const limit = createTextLimit({
    maxTokens: most ?? mostBefore ?? undefined,
    stop: typeof stop === 'string' ? [stop] : (stop ?? []),
  });
  let whole = '';
  for await (const part of parts) {
    if (part.type === 'ended') {
      assertAnswered(part.turn);
      const rest = limit.rest();
      if (rest !== '') yield { text: rest };
      return yield { finish: 'stop', text: whole + rest, turn: part.turn };
    }
    const { text, end } = limit.push(part.text);
    whole += text;
    if (text !== '') yield { text };
    if (end) return yield { finish: end, text: whole, turn: undefined };
  }
}

const usageOf = (text: string, turn: TurnResource | undefined) => {
  const { prompt_tokens = 0, completion_tokens = estimateTokens(text) } = turn?.usage ?? {};
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
};

export interface CompletionsOptions {
  asking: Asking;
  models: ModelCatalogue;
  documents: DocumentsPort;
  clock: Clock;
}

interface Begun {
  id: string;
  model: string;
  created: number;
  pieces: AsyncGenerator<Piece>;
}

export function createOpenAiCompletions({ asking, models, documents, clock }: CompletionsOptions) {
  async function begin(body: CompletionBody, signal: AbortSignal): Promise<Begun> {
    assertSupported(body);
    const { question, earlier, instructions } = saidIn(body.messages, 'messages');
    const { turnId, parts } = await asking.ask(
      {
        content: question,
        model: body.model,
        begins: { kind: 'completion', earlier },
        ...(instructions !== undefined && { instructions }),
      },
      signal,
    );
    return {
      id: toCompletionId(turnId),
      model: models.answering(body.model),
      created: Math.floor(clock.now() / 1_000),
      pieces: limited(parts, body),
    };
  }

  async function annotationsOf(text: string, turn: TurnResource | undefined, principal: Principal) {
    const citations = await citationsOf({ text, sources: turn?.sources ?? [] }, { documents, principal });
    return citations.map(toMessageAnnotation);
  }

  async function whole({ id, model, created, pieces }: Begun, principal: Principal) {
    for await (const piece of pieces) {
      if (!('finish' in piece)) continue;
      const { text: content, turn, finish } = piece;
      const annotations = await annotationsOf(content, turn, principal);
      const message = { role: 'assistant', content, refusal: null, annotations };
      return {
        id,
        object: 'chat.completion',
        created,
        model,
        choices: [{ index: 0, message, logprobs: null, finish_reason: finish }],
        usage: usageOf(content, turn),
        system_fingerprint: null,
      };
    }
    throw new Error('an answer without an end');
  }

  async function* events(
    { id, model, created, pieces }: Begun,
    first: IteratorResult<Piece>,
    { body, request, principal }: { body: CompletionBody; request: Request; principal: Principal },
  ): AsyncGenerator<string> {
    const withUsage = body.stream_options?.include_usage === true;
    const chunk = (choices: object[], usage: object | null = null) => {
      const said = { id, object: 'chat.completion.chunk', created, model, system_fingerprint: null, choices };
      return `data: ${JSON.stringify({ ...said, ...(withUsage && { usage }) })}\n\n`;
    };
    const delta = (words: object, finish: string | null = null) =>
      chunk([{ index: 0, delta: words, logprobs: null, finish_reason: finish }]);
    try {
      yield delta({ role: 'assistant', content: '', refusal: null });
      for (let next = first; !next.done; next = await pieces.next()) {
        const piece = next.value;
        if (!('finish' in piece)) {
          yield delta({ content: piece.text });
          continue;
        }
        const annotations = await annotationsOf(piece.text, piece.turn, principal);
        yield delta(annotations.length > 0 ? { annotations } : {}, piece.finish);
        if (withUsage) yield chunk([], usageOf(piece.text, piece.turn));
      }
      yield 'data: [DONE]\n\n';
    } catch (error) {
      // The status has been sent: what went wrong is told where the next words would be.
      yield `data: ${JSON.stringify({ error: toOpenAiError(toAppError(error), stateOf(request).traceId) })}\n\n`;
    } finally {
      await pieces.return(undefined);
    }
  }

  return new Elysia({ name: 'openai.chat' }).use(authenticated).post(
    '/chat/completions',
    async ({ body, request, server, principal }) => {
      waitWithoutLimit(request, server);
      if (body.stream !== true) return whole(await begin(body, request.signal), principal);
      const gone = new AbortController();
      const begun = await begin(body, AbortSignal.any([request.signal, gone.signal]));
      // An answer that fails before its first word is an error like any other, which a client may try again.
      const first = await begun.pieces.next();
      return eventStream(events(begun, first, { body, request, principal }), { clock, onGone: () => gone.abort() });
    },
    {
      parse: jsonBody,
      body: CompletionBody,
      detail: describeOpenAi({
        summary: 'An answer from the documents',
        description:
          'The last message is the question; those before it are what was said, and system messages add to the instructions. Answers cite passages as `[n]`; `annotations` on the message (in a stream: on its last delta) say which file and where. With `stream: true` the chunks arrive as events. A client that goes away cancels the answer. Settings of sampling are taken without effect; tools, several choices and other formats than text are refused.',
        example: {
          id: 'chatcmpl-01985f2c-40aa-7be5-93d0-a1b2c3d4e003',
          object: 'chat.completion',
          created: 1_795_305_600,
          model: 'gpt-4o-mini',
          choices: [
            {
              index: 0,
              message: {
                role: 'assistant',
                content: 'You have 30 days of paid leave [1].',
                refusal: null,
                annotations: [
                  {
                    type: 'file_citation',
                    start_index: 31,
                    end_index: 34,
                    file_citation: {
                      file_id: 'file-01985f2c-40aa-7be5-93d0-a1b2c3d4e001',
                      filename: 'handbook.pdf',
                      quote: '30 days of paid leave',
                    },
                  },
                ],
              },
              logprobs: null,
              finish_reason: 'stop',
            },
          ],
          usage: { prompt_tokens: 812, completion_tokens: 12, total_tokens: 824 },
          system_fingerprint: null,
        },
      }),
    },
  );
}
