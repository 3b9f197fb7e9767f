/**
 * A response as a stream of events. They follow from the parts of its turn alone, which a turn's log tells again from the
 * beginning as often as it is asked: so they are numbered by counting them, and whoever comes back after number `n` is told
 * those after it. Where the log is gone, the turn's row is told as one part; the end, with the whole answer, is told always.
 */
import type { TurnResource } from '../../contracts/index.ts';
import type { TurnPart } from '../../services/turn-reading.ts';
import type { Citation } from './annotations.ts';
import { toTextAnnotation } from './annotations.ts';
import type { ResponseRequest } from './response-body.ts';
import { type OutputItem, toMessage, toPart, toSearchCall } from './response-form.ts';

export interface ResponseEventsOptions {
  turnId: string;
  request: ResponseRequest;
  parts: AsyncGenerator<TurnPart>;
  /** The last number that the client has seen, if it comes back. */
  after?: number | undefined;
  /** The response as it is told with a turn and so much of its output. */
  render(turn: TurnResource | undefined, output: readonly OutputItem[]): object;
  /** What a turn that has ended says it rests on, and its whole output. */
  finish(turn: TurnResource): Promise<{ citations: Citation[]; output: OutputItem[] }>;
}

type Event = { type: string } & Record<string, unknown>;

const encode = (event: Event, number: number) =>
  `event: ${event.type}\ndata: ${JSON.stringify({ ...event, sequence_number: number })}\n\n`;

export async function* responseEvents(options: ResponseEventsOptions): AsyncGenerator<string> {
  const { turnId, request, parts, after = -1, render, finish } = options;
  let next = 0;
  /** Those that the client has not seen. */
  function* tell(events: readonly Event[]): Generator<string> {
    for (const event of events) {
      const number = next++;
      if (number > after) yield encode(event, number);
    }
  }
  const searches = request.tools.length > 0;
  const at = { item_id: toMessage(turnId, '', []).id, output_index: searches ? 1 : 0, content_index: 0 };
  const search = toSearchCall(turnId, 'completed', request, undefined);

  function begin(): Event[] {
    const searching = { item_id: search.id, output_index: 0 };
    const found: Event[] = [
      { type: 'response.output_item.added', output_index: 0, item: { ...search, status: 'in_progress' } },
      { type: 'response.file_search_call.in_progress', ...searching },
      { type: 'response.file_search_call.searching', ...searching },
      { type: 'response.file_search_call.completed', ...searching },
      { type: 'response.output_item.done', output_index: 0, item: search },
    ];
    return [
      ...(searches ? found : []),
      { type: 'response.output_item.added', output_index: at.output_index, item: toMessage(turnId, 'in_progress', []) },
      { type: 'response.content_part.added', ...at, part: toPart('', []) },
    ];
  }

  yield* tell([
    { type: 'response.created', response: render(undefined, []) },
    { type: 'response.in_progress', response: render(undefined, []) },
  ]);
  let begun = false;
  for await (const part of parts) {
    if (part.type === 'text') {
      if (!begun) yield* tell(begin());
      begun = true;
      yield* tell([{ type: 'response.output_text.delta', ...at, delta: part.text, logprobs: [] }]);
      continue;
    }
    const { turn } = part;
    const { citations, output } = await finish(turn);
    // However the log may have been lost meanwhile: nobody who waits for the end misses it.
    next = Math.max(next, after + 1);
    const message = output.find(({ type }) => type === 'message');
    if (turn.status === 'completed' && message) {
      yield* tell([
        ...citations.map((citation, index) => ({
          type: 'response.output_text.annotation.added',
          ...at,
          annotation_index: index,
          annotation: toTextAnnotation(citation),
        })),
        { type: 'response.output_text.done', ...at, text: turn.text, logprobs: [] },
        { type: 'response.content_part.done', ...at, part: toPart(turn.text, citations) },
        { type: 'response.output_item.done', output_index: at.output_index, item: message },
      ]);
    }
    const type = { completed: 'response.completed', failed: 'response.failed' }[turn.status as string];
    yield* tell([{ type: type ?? 'response.incomplete', response: render(turn, output) }]);
  }
}
