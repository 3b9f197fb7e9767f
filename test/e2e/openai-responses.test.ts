/** Responses as OpenAI's own client makes, follows, resumes, cancels and deletes them. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import type OpenAI from 'openai';
import { BadRequestError, ConflictError, NotFoundError, PermissionDeniedError } from 'openai';
import { eventually } from '../support/eventually.ts';
import { type OpenAiHub, rejection, startOpenAiHub } from '../support/openai-hub.ts';
import type { Person } from '../support/person.ts';

type Event = OpenAI.Responses.ResponseStreamEvent;
type Params = Partial<OpenAI.Responses.ResponseCreateParamsNonStreaming>;

const QUESTION = 'With which number does the vault of the lighthouse open?';
const MODEL = 'fake-chat';

let hub: OpenAiHub;
let owner: Person;
let client: OpenAI;
let document: string;
let store: string;

beforeAll(async () => {
  hub = await startOpenAiHub();
  owner = await hub.register();
  client = hub.clientOf(owner);
  document = await hub.learn(owner, 'The vault of the lighthouse opens with the number 7391.', 'lighthouse.txt', {
    visibility: 'private',
  });
  await hub.learn(owner, 'The vault of the windmill opens with the number 4408.', 'windmill.txt');
  const attributes = { kind: 'coast' };
  const made = await client.vectorStores.create({ name: 'Buildings' });
  store = made.id;
  await client.vectorStores.files.create(store, { file_id: document, attributes });
}, 120_000);
afterAll(() => hub?.stop(), 60_000);
afterEach(() => hub.fake.reset());

const create = (more: Params = {}, by = client) => by.responses.create({ model: MODEL, input: QUESTION, ...more });
const stream = (more: Params = {}, by = client) =>
  by.responses.create({ model: MODEL, input: QUESTION, ...more, stream: true });
/** What the model was sent last. */
const prompt = () => JSON.stringify(hub.fake.requests.findLast(({ route }) => route === 'chat')?.body['messages']);

async function all(events: AsyncIterable<Event>): Promise<Event[]> {
  const found: Event[] = [];
  for await (const event of events) found.push(event);
  return found;
}

const textIn = (events: readonly Event[]) =>
  events.flatMap((event) => (event.type === 'response.output_text.delta' ? [event.delta] : [])).join('');
const numbersIn = (events: readonly Event[]) => events.map(({ sequence_number: number }) => number);
const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

function annotationsOf({ output }: OpenAI.Responses.Response) {
  const message = output.find((item) => item.type === 'message');
  const [part] = message?.content ?? [];
  return part?.type === 'output_text' ? part.annotations : [];
}

describe('a response', () => {
  test('answers from the documents, and is found again until it is deleted', async () => {
    const made = await create({ metadata: { from: 'a test' }, instructions: 'Talk like a sailor.' });
    expect(made).toMatchObject({
      object: 'response',
      status: 'completed',
      background: false,
      error: null,
      model: MODEL,
    });
    expect(made).toMatchObject({ metadata: { from: 'a test' }, instructions: 'Talk like a sailor.' });
    expect(prompt()).toContain('Talk like a sailor.');
    expect(made.id).toStartWith('resp_');
    expect(made.output_text).toContain('7391');
    expect(annotationsOf(made)[0]).toMatchObject({
      type: 'file_citation',
      file_id: `file-${document}`,
      filename: 'lighthouse.txt',
      index: made.output_text.indexOf('[1]'),
    });
    expect(made.usage?.total_tokens).toBe((made.usage?.input_tokens ?? 0) + (made.usage?.output_tokens ?? 0));
    const { output, usage, metadata } = await client.responses.retrieve(made.id);
    expect({ output, usage, metadata }).toEqual({ output: made.output, usage: made.usage, metadata: made.metadata });
    await client.responses.delete(made.id);
    expect(await rejection(client.responses.retrieve(made.id))).toBeInstanceOf(NotFoundError);
    const unkept = await create({ store: false });
    expect(await rejection(client.responses.retrieve(unkept.id))).toBeInstanceOf(NotFoundError);
  });

  test('streams, numbered from 0 without a gap, and its end says everything', async () => {
    const events = await all(await stream());
    expect(numbersIn(events)).toEqual(upTo(events.length));
    expect(events.slice(0, 4).map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
    ]);
    const last = events.at(-1);
    if (last?.type !== 'response.completed') throw new Error(`it ends with ${last?.type}`);
    const { output } = await client.responses.retrieve(last.response.id);
    expect(last.response.output).toEqual(output);
    expect(JSON.stringify(output)).toContain(JSON.stringify(textIn(events)));
    expect(events.some(({ type }) => type === 'response.output_text.annotation.added')).toBe(true);
    // The client's own way of putting one together.
    const put = await client.responses.stream({ model: MODEL, input: QUESTION }).finalResponse();
    expect(put.output_text).toBe(textIn(events));
  });

  test('follows another, by as many branches as one likes', async () => {
    const first = await create({ input: 'Do you know the lighthouse on the northern cliff?' });
    const branch = (input: string) => create({ input, previous_response_id: first.id });
    const second = await branch('With which number does its vault open?');
    expect(prompt()).toContain('northern cliff');
    expect(second.previous_response_id).toBe(first.id);
    await create({ input: 'And who keeps it?', previous_response_id: second.id });
    for (const said of ['northern cliff', 'its vault open']) expect(prompt()).toContain(said);
    await branch('Is it tall?');
    expect(prompt()).toContain('northern cliff');
    expect(prompt()).not.toContain('its vault open');
    await client.responses.delete(first.id);
    expect((await client.responses.retrieve(second.id)).output_text).toBe(second.output_text);
    expect(await rejection(branch('Again?'))).toBeInstanceOf(NotFoundError);
    const conversations = await owner.call<{ items: unknown[] }>('GET', '/conversations');
    expect(conversations.body.items).toEqual([]);
  });

  test('searches where its tool says, and tells what is found there', async () => {
    const tool = { type: 'file_search' as const, vector_store_ids: [store] };
    const made = await create({ tools: [tool], include: ['file_search_call.results'] });
    expect(made.output[0]).toMatchObject({
      type: 'file_search_call',
      status: 'completed',
      queries: [QUESTION],
      results: [{ file_id: `file-${document}`, attributes: { kind: 'coast' }, text: expect.stringContaining('7391') }],
    });
    expect(made.output_text).toContain('7391');
    expect(prompt()).not.toContain('4408');
    expect((await create({ tools: [tool] })).output[0]).toMatchObject({ results: null });
    await create({ tools: [{ ...tool, filters: { type: 'eq', key: 'kind', value: 'inland' } }] });
    expect(prompt()).not.toMatch(/7391|4408/);
    const events = await all(await stream({ tools: [tool] }));
    expect(numbersIn(events)).toEqual(upTo(events.length));
    expect(events.some(({ type }) => type === 'response.file_search_call.completed')).toBe(true);
  });

  test('reads items of input, those of its own earlier output among them', async () => {
    const first = await create();
    const input = [
      { role: 'developer', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'input_text', text: 'Do you know the lighthouse?' }] },
      ...first.output,
      { role: 'user', content: 'And its vault?' },
    ] as OpenAI.Responses.ResponseInput;
    await create({ input });
    for (const said of ['Be brief.', 'Do you know the lighthouse?', '7391']) expect(prompt()).toContain(said);
  });

  test('ends with its client where it is not in the background', async () => {
    hub.fake.next('chat', { type: 'stepwise' });
    hub.fake.step();
    const reading = await stream();
    for await (const { type } of reading) if (type === 'response.output_text.delta') break;
    reading.controller.abort();
    await hub.fake.waitFor(({ fault, state }) => fault === 'stepwise' && state === 'aborted');
  });
});

describe('in the background', () => {
  const finished = async (id: string) => {
    await eventually('the response ends', async () => {
      const { status } = await client.responses.retrieve(id);
      return status !== 'queued' && status !== 'in_progress';
    });
    return client.responses.retrieve(id);
  };

  test('a response goes on without its client', async () => {
    const { id, status } = await create({ background: true });
    expect(['queued', 'in_progress', 'completed']).toContain(status ?? '');
    expect(await finished(id)).toMatchObject({ status: 'completed', background: true });
  });

  test('a stream that broke off is continued after the number that was seen last, as often as one likes', async () => {
    hub.fake.next('chat', { type: 'stepwise' });
    hub.fake.step();
    const reading = await stream({ background: true });
    const seen: Event[] = [];
    for await (const event of reading) {
      seen.push(event);
      if (event.type === 'response.output_text.delta') break;
    }
    reading.controller.abort();
    const [created] = seen;
    if (created?.type !== 'response.created') throw new Error(`it begins with ${created?.type}`);
    const { id } = created.response;
    for (let token = 0; token < 200; token++) hub.fake.step();
    const last = seen.at(-1)?.sequence_number ?? -1;
    const rest = await all(await client.responses.retrieve(id, { stream: true, starting_after: last }));
    const whole = [...seen, ...rest];
    expect(numbersIn(whole)).toEqual(upTo(whole.length));
    expect(textIn(whole)).toContain('7391');
    expect(textIn(whole)).toBe((await client.responses.retrieve(id)).output_text);
    // From the beginning, and from the very end, once it has ended.
    expect(await all(await client.responses.retrieve(id, { stream: true }))).toMatchObject(
      whole.map(({ type, sequence_number }) => ({ type, sequence_number })),
    );
    const end = whole.length - 1;
    const none = await all(await client.responses.retrieve(id, { stream: true, starting_after: end }));
    expect(none.at(-1)?.type).toBe('response.completed');
  });

  test('a response is cancelled once, and the model is asked no further', async () => {
    hub.fake.next('chat', { type: 'hang' });
    const { id } = await create({ background: true });
    await hub.fake.waitFor(({ fault }) => fault === 'hang');
    expect(await rejection(create({ previous_response_id: id }))).toBeInstanceOf(ConflictError);
    await client.responses.cancel(id);
    await hub.fake.waitFor(({ fault, state }) => fault === 'hang' && state === 'aborted');
    expect((await finished(id)).status).toBe('cancelled');
    expect((await client.responses.cancel(id)).status).toBe('cancelled');
    const foreground = await create();
    expect(await rejection(client.responses.cancel(foreground.id))).toBeInstanceOf(ConflictError);
  });

  test('a response says why it failed', async () => {
    hub.fake.next('chat', { type: 'status', status: 400, code: 'bad' });
    const { id } = await create({ background: true });
    expect(await finished(id)).toMatchObject({ status: 'failed', error: { message: expect.stringContaining('bad') } });
    const events = await all(await client.responses.retrieve(id, { stream: true }));
    expect(events.at(-1)?.type).toBe('response.failed');
  });
});

test('a response is its user’s alone, and so is what it searches', async () => {
  const { id } = await create({ background: true });
  const colleague = hub.clientOf(await hub.join(owner, 'member'));
  const stranger = hub.clientOf(await hub.register());
  for (const by of [colleague, stranger]) {
    for (const attempt of [
      () => by.responses.retrieve(id),
      () => by.responses.cancel(id),
      () => by.responses.delete(id),
      () => create({ previous_response_id: id }, by),
    ]) {
      expect(await rejection(attempt())).toBeInstanceOf(NotFoundError);
    }
    const streamed = rejection(by.responses.retrieve(id, { stream: true }));
    expect(await streamed).toBeInstanceOf(NotFoundError);
    expect((await create({}, by)).output_text).not.toContain('7391');
    expect(prompt()).not.toContain('7391');
  }
  const tools = [{ type: 'file_search' as const, vector_store_ids: [store] }];
  expect(await rejection(create({ tools }, stranger))).toBeInstanceOf(NotFoundError);
  expect((await create({ tools, include: ['file_search_call.results'] }, colleague)).output[0]).toMatchObject({
    results: [],
  });
  expect(prompt()).not.toContain('7391');
  const reader = hub.clientOf(await hub.key(owner, 'read'));
  expect(await rejection(create({}, reader))).toBeInstanceOf(PermissionDeniedError);
}, 120_000);

test.each<[string, object]>([
  ['tools[0].type', { tools: [{ type: 'web_search' }] }],
  ['tools[0].vector_store_ids', { tools: [{ type: 'file_search' }] }],
  ['background', { background: true, store: false }],
  ['text.format', { text: { format: { type: 'json_object' } } }],
  ['input', { input: [] }],
  ['input[0].type', { input: [{ type: 'function_call_output', call_id: 'x', output: 'y' }] }],
  ['unheard_of', { unheard_of: 1 }],
])('a response is refused for its %s: %j', async (param, more) => {
  const error = await rejection(create(more as Params));
  expect(error).toBeInstanceOf(BadRequestError);
  expect(error).toMatchObject({ param, code: 'invalid_request' });
});
