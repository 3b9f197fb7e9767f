import { describe, expect, test } from 'bun:test';
import type { Message } from '../../../src/client/types.ts';
import { createChatModel } from '../../../src/console/model/chat.ts';
import { createHarness, delta, event, settle } from '../client/harness.ts';
import { C1, question, TURN, turnIn, usage } from './fixtures.ts';

async function setUp(messages: Message[] = []) {
  const harness = await createHarness();
  harness.answer('GET /conversations', () => Response.json({ items: [], next_cursor: null }));
  harness.answer(`GET /conversations/${C1}/messages`, () => Response.json({ items: messages, next_cursor: null }));
  const realtime = harness.client.connect();
  let ids = 0;
  const model = createChatModel({
    client: harness.client,
    realtime,
    uuid: () => `id-${++ids}`,
    soon: queueMicrotask,
  });
  await settle();
  harness.peer().hello();
  harness.peer().ackAll();
  await settle();
  return { ...harness, model, realtime };
}

describe('a question', () => {
  test('is shown at once, then belongs to its turn, whose text grows into the stored answer', async () => {
    const { model, peer } = await setUp();
    model.ask('Why?');
    expect(model.store.get().outgoing).toMatchObject([{ content: 'Why?', state: 'sending' }]);
    await settle();
    peer().ackAll(TURN);
    peer().send(event('turn:t1', 1, 'turn.started', { attempt: 1, turn_id: 't1' }));
    peer().send(delta(2, 'Be'));
    await settle();
    expect(model.store.get()).toMatchObject({ openId: C1, outgoing: [], messages: [{ id: 'm1', content: 'Why?' }] });
    expect(model.store.get().turns.get('t1')).toMatchObject({ status: 'running', text: 'Be' });
    peer().send(delta(3, 'cause'));
    peer().send(event('turn:t1', 4, 'turn.completed', { message_id: 'm2', text: 'Because', sources: [], usage }));
    await settle();
    expect(model.store.get().turns.size).toBe(0);
    expect(model.store.get().messages.map(({ content }) => content)).toEqual(['Why?', 'Because']);
    model.dispose();
  });

  test('waits for the one that makes the conversation', async () => {
    const { model, peer } = await setUp();
    model.ask('First?');
    model.ask('Second?');
    await settle();
    expect(peer().of('chat.send')).toMatchObject([{ content: 'First?' }]);
    peer().ackAll(TURN);
    await settle();
    expect(peer().of('chat.send')[1]).toMatchObject({ content: 'Second?', conversation_id: C1 });
    model.dispose();
  });

  test('that was not acknowledged can be sent again under the same id', async () => {
    const { model, peer, clock } = await setUp();
    model.ask('Why?');
    await settle();
    await clock.advance(10_000);
    expect(model.store.get().outgoing).toMatchObject([{ state: 'unsent', error: { code: 'timeout' } }]);
    model.resend('id-1');
    await settle();
    expect(
      peer()
        .of('chat.send')
        .map((frame) => frame.client_message_id),
    ).toEqual(['id-1', 'id-1']);
    model.dispose();
  });
});

describe('an opened conversation', () => {
  test('joins a turn that is still running, from its first event', async () => {
    const { model, peer, answer } = await setUp([question]);
    answer('GET /turns/t1', () => Response.json(turnIn('running')));
    model.open(C1);
    await settle();
    await settle();
    const subscribed = peer()
      .of('subscribe')
      .find((frame) => frame.topic === 'turn:t1');
    expect(subscribed).not.toHaveProperty('after');
    peer().ackAll();
    peer().send(event('turn:t1', 1, 'turn.started', { attempt: 1, turn_id: 't1' }));
    peer().send(delta(2, 'Be'));
    peer().send(delta(3, 'cause'));
    await settle();
    expect(model.store.get().turns.get('t1')).toMatchObject({ status: 'running', text: 'Because' });
    model.dispose();
  });

  test('shows why a turn has failed', async () => {
    const { model, answer } = await setUp([question]);
    answer('GET /turns/t1', () =>
      Response.json(turnIn('failed', { text: '', error: { code: 'provider_unavailable', message: 'x' } })),
    );
    model.open(C1);
    await settle();
    await settle();
    expect(model.store.get().turns.get('t1')).toMatchObject({
      status: 'failed',
      error: { code: 'provider_unavailable' },
    });
    model.dispose();
  });

  test('shows a rating when it is kept, and says why where it is not', async () => {
    const answer: Message = { ...question, id: 'm2', role: 'assistant', content: 'Because.', parent_id: 'm1' };
    const { model, answer: respond } = await setUp([question, answer]);
    model.open(C1);
    await settle();
    const ratings = () => model.store.get().messages.map(({ rating }) => rating);
    respond('POST /messages/m2/feedback', () => new Response(null, { status: 204 }));
    await model.rate('m2', 1);
    expect(ratings()).toEqual([null, 1]);
    respond('POST /messages/m2/feedback', () => Response.json({ code: 'not_found', detail: 'Gone.' }, { status: 404 }));
    await expect(model.rate('m2', -1)).rejects.toMatchObject({ code: 'not_found' });
    expect(ratings()).toEqual([null, 1]);
    model.dispose();
  });

  test('is not touched by what arrives for the one before', async () => {
    const { model, peer } = await setUp();
    model.ask('Why?');
    await settle();
    model.open(null);
    peer().ackAll(TURN);
    peer().send(delta(1, 'late'));
    await settle();
    expect(model.store.get()).toMatchObject({ openId: null, messages: [], outgoing: [] });
    expect(peer().of('unsubscribe')).toMatchObject([{ topic: 'turn:t1' }]);
    model.dispose();
  });
});
