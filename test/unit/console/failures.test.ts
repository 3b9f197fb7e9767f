/** What could not be done stands in the models' stores with why, and can be tried again from there. */
import { describe, expect, test } from 'bun:test';
import { createChatModel } from '../../../src/console/model/chat.ts';
import { createDocumentsModel } from '../../../src/console/model/documents.ts';
import type { Failure } from '../../../src/console/model/problem.ts';
import { createHarness, event, type Harness, problem, settle } from '../client/harness.ts';
import { C1, documentIn, question, TURN, turnIn, usage } from './fixtures.ts';

const C2 = '0190a000-0000-7000-8000-000000000002';
const away = () => problem(503, 'unavailable');

const conversation = (id: string) => ({
  id,
  title: id,
  created_at: '2026-01-01T00:00:00Z',
  updated_at: '2026-01-01T00:00:00Z',
  message_count: 2,
});
const document = (id: string, status = 'ready') =>
  documentIn(status, { id, title: id, filename: `${id}.md`, task_id: `task-${id}` });
const page = (items: object[], next_cursor: string | null = null) => Response.json({ items, next_cursor });

/** Every answer of REST has been worked off, one that was asked for because of another too. */
async function settled(): Promise<void> {
  for (let i = 0; i < 4; i++) await settle();
}

const again = (failure: Failure | null) => {
  if (!failure) throw new Error('nothing has failed');
  failure.again();
  return settled();
};

async function greet(harness: Harness): Promise<void> {
  await settled();
  harness.peer().hello();
  harness.peer().ackAll();
  await settled();
}

async function chat(answers: Record<string, () => Response> = {}) {
  const harness = await createHarness();
  harness.answer('GET /conversations', () => page([conversation(C1)]));
  harness.answer(`GET /conversations/${C1}/messages`, () => page([question]));
  harness.answer('GET /turns/t1', () => Response.json(turnIn('running')));
  for (const [call, respond] of Object.entries(answers)) harness.answer(call, respond);
  const realtime = harness.client.connect();
  let ids = 0;
  const model = createChatModel({ client: harness.client, realtime, uuid: () => `id-${++ids}`, soon: queueMicrotask });
  await greet(harness);
  return { ...harness, model, realtime, state: model.store.get };
}

async function documents(answers: Record<string, () => Response> = {}) {
  const harness = await createHarness();
  harness.answer('GET /documents', () => page([document('d1')]));
  for (const [call, respond] of Object.entries(answers)) harness.answer(call, respond);
  const model = createDocumentsModel({ client: harness.client, realtime: harness.client.connect() });
  await greet(harness);
  return { ...harness, model, state: model.store.get };
}

describe('conversations', () => {
  test('that could not be listed are listed at another try', async () => {
    const { model, answer, state } = await chat({ 'GET /conversations': away });
    expect(state()).toMatchObject({ listed: false, listFailure: { problem: { code: 'unavailable' } } });
    answer('GET /conversations', () => page([conversation(C1)]));
    await again(state().listFailure);
    expect(state()).toMatchObject({ listed: true, listFailure: null, conversations: [{ id: C1 }] });
    model.dispose();
  });

  test('further down that could not be read follow at another try, and once however often they are asked for', async () => {
    const { model, answer, state } = await chat({ 'GET /conversations': () => page([conversation(C1)], 'next') });
    answer('GET /conversations', away);
    await model.loadMore();
    expect(state()).toMatchObject({ nextCursor: 'next', listFailure: { problem: { code: 'unavailable' } } });
    answer('GET /conversations', () => page([conversation(C2)]));
    const failure = state().listFailure;
    failure?.again();
    await again(failure);
    expect(state()).toMatchObject({ nextCursor: null, listFailure: null });
    expect(state().conversations.map(({ id }) => id)).toEqual([C1, C2]);
    model.dispose();
  });

  test('deleted in another window are gone here too', async () => {
    const { model, answer, state } = await chat();
    answer(`DELETE /conversations/${C1}`, () => problem(404, 'not_found'));
    await model.remove(C1);
    expect(state().conversations).toEqual([]);
    model.dispose();
  });
});

describe('the open conversation', () => {
  test('that could not be read is read at another try', async () => {
    const { model, answer, state } = await chat({ [`GET /conversations/${C1}/messages`]: away });
    model.open(C1);
    await settled();
    expect(state()).toMatchObject({ loading: false, messages: [], failure: { problem: { code: 'unavailable' } } });
    answer(`GET /conversations/${C1}/messages`, () => page([question]));
    await again(state().failure);
    expect(state()).toMatchObject({ failure: null, messages: [{ id: 'm1' }] });
    model.dispose();
  });

  test('says that an unanswered question could not be looked after, and follows it at another try', async () => {
    const { model, answer, peer, state } = await chat({ 'GET /turns/t1': away });
    model.open(C1);
    await settled();
    expect(state()).toMatchObject({ messages: [{ id: 'm1' }], failure: { problem: { code: 'unavailable' } } });
    answer('GET /turns/t1', () => Response.json(turnIn('running')));
    await again(state().failure);
    expect(state().failure).toBeNull();
    expect(state().turns.get('t1')).toMatchObject({ status: 'running' });
    expect(
      peer()
        .of('subscribe')
        .map(({ topic }) => topic),
    ).toContain('turn:t1');
    model.dispose();
  });

  test('takes its failure along when it is left', async () => {
    const { model, state } = await chat({ [`GET /conversations/${C1}/messages`]: away });
    model.open(C1);
    await settled();
    const { failure } = state();
    model.open(null);
    expect(state().failure).toBeNull();
    await again(failure);
    expect(state()).toMatchObject({ openId: null, messages: [], failure: null });
    model.dispose();
  });
});

describe('an answer that could not be stopped', () => {
  test('is stopped at another try', async () => {
    const { model, peer, state } = await chat();
    model.ask('Why?');
    await settled();
    peer().ackAll(TURN);
    await settled();
    const stopping = model.stop('t1');
    await settled();
    const [cancel] = peer().of('chat.cancel');
    peer().send({ type: 'error', id: cancel?.id ?? '', code: 'unavailable', message: 'x' });
    await stopping;
    expect(state()).toMatchObject({ stopFailure: { problem: { code: 'unavailable' } } });
    await again(state().stopFailure);
    peer().ackAll();
    await settled();
    expect(state().stopFailure).toBeNull();
    expect(peer().of('chat.cancel')).toHaveLength(2);
    model.dispose();
  });

  test('says so without a socket too', async () => {
    const { model, peer, state, answer } = await chat();
    model.ask('Why?');
    await settled();
    peer().ackAll(TURN);
    await settled();
    peer().cut(1006);
    answer('POST /turns/t1/cancel', away);
    await model.stop('t1');
    expect(state()).toMatchObject({ stopFailure: { problem: { code: 'unavailable' } } });
    model.dispose();
  });

  test('says so no more once it is complete', async () => {
    const { model, peer, state } = await chat();
    model.ask('Why?');
    await settled();
    peer().ackAll(TURN);
    await settled();
    const stopping = model.stop('t1');
    await settled();
    peer().send({
      type: 'error',
      id: peer().of('chat.cancel')[0]?.id ?? '',
      code: 'unavailable',
      message: 'x',
    });
    await stopping;
    expect(state().stopFailure).not.toBeNull();
    peer().send(event('turn:t1', 1, 'turn.started', { attempt: 1, turn_id: 't1' }));
    peer().send(event('turn:t1', 2, 'turn.completed', { message_id: 'm2', text: 'Because', sources: [], usage }));
    await settled();
    expect(state()).toMatchObject({ stopFailure: null, messages: [{ id: 'm1' }, { id: 'm2' }] });
    model.dispose();
  });
});

describe('documents', () => {
  test('that could not be listed are listed at another try', async () => {
    const { model, answer, state } = await documents({ 'GET /documents': away });
    expect(state()).toMatchObject({ loaded: false, failure: { problem: { code: 'unavailable' } } });
    answer('GET /documents', () => page([document('d1')]));
    await again(state().failure);
    expect(state()).toMatchObject({ loaded: true, failure: null, rows: [{ documentId: 'd1' }] });
    model.dispose();
  });

  test('further down that could not be read follow at another try, and once however often they are asked for', async () => {
    const { model, answer, state } = await documents({ 'GET /documents': () => page([document('d1')], 'next') });
    answer('GET /documents', away);
    await model.loadMore();
    expect(state()).toMatchObject({ nextCursor: 'next', failure: { problem: { code: 'unavailable' } } });
    answer('GET /documents', () => page([document('d2')]));
    const { failure } = state();
    failure?.again();
    await again(failure);
    expect(state().rows.map(({ documentId }) => documentId)).toEqual(['d1', 'd2']);
    expect(state().failure).toBeNull();
    model.dispose();
  });

  test('whose work could not be started again say why, and can be tried again', async () => {
    const { model, answer, state } = await documents({
      'GET /documents': () => page([document('d1', 'failed')]),
      'GET /tasks/task-d1': () => Response.json({ status: 'dead' }),
      'POST /tasks/task-d1/retry': () => problem(429, 'queue_full'),
    });
    const row = () => {
      const [first] = state().rows;
      if (!first) throw new Error('there is no row');
      return first;
    };
    expect(row()).toMatchObject({ phase: 'failed', retryable: true });
    await model.retry(row());
    expect(row()).toMatchObject({ phase: 'failed', retryable: true, error: { code: 'queue_full' } });
    answer('POST /tasks/task-d1/retry', () => Response.json({}));
    await model.retry(row());
    expect(row()).toMatchObject({ phase: 'queued', error: null });
    model.dispose();
  });

  test('of which nobody could say whether another try makes sense are asked about with the next list', async () => {
    const { model, answer, peer, state } = await documents({
      'GET /documents': () => page([document('d1', 'failed')]),
      'GET /tasks/task-d1': away,
    });
    expect(state().rows).toMatchObject([{ phase: 'failed', retryable: false }]);
    answer('GET /tasks/task-d1', () => Response.json({ status: 'dead' }));
    peer().send(event('user', 1, 'document.ready', { document_id: 'd1', task_id: 'task-d1', title: 'd1' }));
    await settled();
    expect(state().rows).toMatchObject([{ phase: 'failed', retryable: true }]);
    model.dispose();
  });

  test('that did not arrive are sent again; one that the server does not take is not', async () => {
    const { model, answer, state } = await documents({ 'GET /documents': () => page([]) });
    answer('POST /upload', () => problem(429, 'queue_full'));
    model.upload([new File(['hello'], 'notes.md')]);
    await settled();
    const [row] = state().rows;
    expect(row).toMatchObject({ phase: 'refused', retryable: true, error: { code: 'queue_full' } });
    answer('POST /upload', () => problem(415, 'unsupported_media_type'));
    if (row) await model.retry(row);
    await settled();
    expect(state().rows).toMatchObject([
      { phase: 'refused', retryable: false, error: { code: 'unsupported_media_type' } },
    ]);
    model.dispose();
  });
});
