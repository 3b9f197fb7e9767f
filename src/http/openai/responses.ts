/**
 * `/v1/responses`: answers that are found again, followed up and, in the background, read from any point of theirs. One that
 * is not in the background ends with its client, like a completion.
 */
import { Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import type { Principal, TurnResource } from '../../contracts/index.ts';
import type { Clock } from '../../kernel/clock.ts';
import { toAppError } from '../../kernel/errors.ts';
import { assertAnswered } from '../../services/asking.ts';
import type { ModelCatalogue } from '../../services/model-catalogue.ts';
import type { KnownResponse, Responses } from '../../services/responses.ts';
import type { TurnPart } from '../../services/turn-reading.ts';
import type { VectorStores } from '../../services/vector-stores.ts';
import { jsonBody } from '../json-body.ts';
import { queryInteger } from '../models/common.ts';
import { waitWithoutLimit } from '../patience.ts';
import { authenticated } from '../plugins/auth.ts';
import type { DocumentsPort } from '../ports.ts';
import { stateOf } from '../request-state.ts';
import { citationsOf } from './annotations.ts';
import { describeOpenAi } from './documentation.ts';
import { toOpenAiError } from './errors.ts';
import { eventStream } from './event-stream.ts';
import { params, ResponseId, rowOf, toResponseId } from './ids.ts';
import { assertSupported, filterOf, ResponseBody, type ResponseRequest, saidInInput } from './response-body.ts';
import { responseEvents } from './response-events.ts';
import { type OutputItem, toMessage, toPart, toResponse, toSearchCall } from './response-form.ts';

export interface ResponsesRoutesOptions {
  responses: Responses;
  vectorStores: VectorStores;
  models: ModelCatalogue;
  documents: DocumentsPort;
  clock: Clock;
}

const SEARCH_RESULTS = 'file_search_call.results';
const MOST_RESULTS = 10;

const ResponseParams = params({ id: ResponseId });
const ResponseQuery = Type.Object({
  stream: Type.Optional(Type.Boolean({ description: 'As events' })),
  starting_after: Type.Optional(
    queryInteger('starting_after', { minimum: 0, description: 'The last `sequence_number` that was seen' }),
  ),
});

interface Told {
  response: KnownResponse<ResponseRequest>;
  principal: Principal;
  stored: boolean;
  /** What the client wants to see beside. */
  include: readonly string[];
}

/** `include` and `include[]`, however often. */
const includedIn = ({ url }: Request): string[] => {
  const { searchParams } = new URL(url);
  return [...searchParams.getAll('include'), ...searchParams.getAll('include[]')];
};

const example = {
  id: 'resp_01985f2c-40aa-7be5-93d0-a1b2c3d4e003',
  object: 'response',
  created_at: 1_795_305_600,
  status: 'completed',
  background: false,
  error: null,
  model: 'gpt-4o-mini',
  output: [
    {
      id: 'msg_01985f2c-40aa-7be5-93d0-a1b2c3d4e003',
      type: 'message',
      role: 'assistant',
      status: 'completed',
      content: [
        {
          type: 'output_text',
          text: 'You have 30 days of paid leave [1].',
          annotations: [
            {
              type: 'file_citation',
              file_id: 'file-01985f2c-40aa-7be5-93d0-a1b2c3d4e001',
              filename: 'handbook.pdf',
              index: 31,
            },
          ],
        },
      ],
    },
  ],
  usage: { input_tokens: 812, output_tokens: 12, total_tokens: 824 },
};

export function createOpenAiResponses({ responses, vectorStores, models, documents, clock }: ResponsesRoutesOptions) {
  /** What a turn says so far, and what stands behind it once it has ended. */
  async function outputOf({ response: { request }, principal, include }: Told, turn: TurnResource) {
    const { status, text, id } = turn;
    const citations = status === 'completed' ? await citationsOf(turn, { documents, principal }) : [];
    const output: OutputItem[] = [];
    if (request.tools.length > 0 && status === 'completed') {
      output.push(toSearchCall(id, 'completed', request, await resultsOf(request, include)));
    }
    if (status === 'completed' || text !== '') {
      output.push(toMessage(id, status === 'completed' ? 'completed' : 'incomplete', [toPart(text, citations)]));
    }
    return { citations, output };
  }

  /** What a search in the stores finds now, where somebody wants to see it. */
  async function resultsOf({ question, tools: [tool] }: ResponseRequest, include: readonly string[]) {
    if (!tool || !include.includes(SEARCH_RESULTS)) return undefined;
    const { stores } = filterOf([tool]);
    const most = tool.max_num_results ?? MOST_RESULTS;
    return vectorStores.search(stores?.ids ?? [], { queries: [question], most, attributes: stores?.attributes });
  }

  const form = ({ response, stored }: Told, turn: TurnResource, output: readonly OutputItem[]) =>
    toResponse({ ...response, turn }, { model: models.answering(response.request.model), stored, output });

  async function whole(told: Told, turn = told.response.turn) {
    const { output } = await outputOf(told, turn);
    return form(told, turn, output);
  }

  async function* events(told: Told, parts: AsyncGenerator<TurnPart>, request: Request, after?: number) {
    const begun: TurnResource = { ...told.response.turn, status: 'running', text: '' };
    try {
      yield* responseEvents({
        turnId: begun.id,
        request: told.response.request,
        parts,
        after,
        render: (turn, output) => form(told, turn ?? begun, output),
        finish: (turn) => outputOf(told, turn),
      });
    } catch (error) {
      const { code, message, param } = toOpenAiError(toAppError(error), stateOf(request).traceId);
      yield `event: error\ndata: ${JSON.stringify({ type: 'error', code, message, param })}\n\n`;
    } finally {
      await parts.return(undefined);
    }
  }

  /** The parts with the first one at hand: what fails before it is an error like any other. */
  async function opened(parts: AsyncGenerator<TurnPart>): Promise<AsyncGenerator<TurnPart>> {
    const first = await parts.next();
    if (!first.done && first.value.type === 'ended') assertAnswered(first.value.turn);
    return (async function* () {
      try {
        if (!first.done) yield first.value;
        yield* parts;
      } finally {
        await parts.return(undefined);
      }
    })();
  }

  async function create(body: ResponseBody, request: Request, principal: Principal) {
    assertSupported(body);
    const { question, earlier, instructions } = saidInInput(body);
    const { background, stream, store, metadata, tools, previous_response_id: previous } = body;
    const filter = filterOf(tools ?? []);
    if (filter.stores) await vectorStores.assertThere(filter.stores.ids);
    const stored = store !== false;
    const gone = new AbortController();
    const { response, parts } = await responses.create<ResponseRequest>(
      {
        message: { content: question, model: body.model, filter, instructions },
        earlier,
        previous: previous ? rowOf(previous) : null,
        background: background === true,
        stored,
        request: {
          model: body.model,
          question,
          instructions: body.instructions ?? null,
          metadata: metadata ?? {},
          tools: tools ?? [],
        },
      },
      AbortSignal.any([request.signal, gone.signal]),
    );
    const told: Told = { response, principal, stored, include: body.include ?? [] };
    if (stream === true) {
      const open = background === true ? parts : await opened(parts);
      return eventStream(events(told, open, request), { clock, onGone: () => gone.abort() });
    }
    if (background === true) return whole(told);
    for await (const part of parts) {
      if (part.type !== 'ended') continue;
      assertAnswered(part.turn);
      return whole(told, part.turn);
    }
    throw new Error('an answer without an end');
  }

  return new Elysia({ name: 'openai.responses' })
    .use(authenticated)
    .post(
      '/responses',
      ({ body, request, server, principal }) => {
        waitWithoutLimit(request, server);
        return create(body, request, principal);
      },
      {
        parse: jsonBody,
        body: ResponseBody,
        detail: describeOpenAi({
          summary: 'An answer that is found again',
          description:
            'From the documents in the vector stores that a `file_search` tool names; without one, from all that the caller may see. `background` goes on when its client goes, and is read again with `GET`; any other response ends with its client. `previous_response_id` follows up on what was said.',
          example,
        }),
      },
    )
    .get(
      '/responses/:id',
      async ({ params: { id }, query, request, server, principal }) => {
        const response = await responses.get<ResponseRequest>(rowOf(id));
        const told: Told = { response, principal, stored: true, include: includedIn(request) };
        if (query.stream !== true) return whole(told);
        waitWithoutLimit(request, server);
        const gone = new AbortController();
        const parts = responses.read(rowOf(id), AbortSignal.any([request.signal, gone.signal]));
        const stream = events(told, parts, request, query.starting_after);
        return eventStream(stream, { clock, onGone: () => gone.abort() });
      },
      {
        params: ResponseParams,
        query: ResponseQuery,
        detail: describeOpenAi({
          summary: 'A response as it is now, or its events',
          description:
            'With `stream=true` its events from the beginning, or those after `starting_after`: while it is written, and as long as its events are kept. After that the end tells the whole answer.',
          example,
        }),
      },
    )
    .post(
      '/responses/:id/cancel',
      async ({ params: { id }, principal }) => {
        const response = await responses.cancel<ResponseRequest>(rowOf(id));
        return whole({ response, principal, stored: true, include: [] });
      },
      {
        params: ResponseParams,
        parse: 'none',
        detail: describeOpenAi({ summary: 'Cancel a response in the background', example }),
      },
    )
    .delete(
      '/responses/:id',
      async ({ params: { id } }) => {
        await responses.remove(rowOf(id));
        return { id: toResponseId(rowOf(id)), object: 'response', deleted: true };
      },
      {
        params: ResponseParams,
        detail: describeOpenAi({
          summary: 'Delete a response',
          description: 'With what was said in it; one that is being written is stopped.',
          example: { id: example.id, object: 'response', deleted: true },
        }),
      },
    );
}
