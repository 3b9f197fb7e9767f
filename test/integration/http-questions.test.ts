/** The forms in which a question is answered over HTTP, on a real socket, over scripted services. */
import { afterEach, describe, expect, test } from 'bun:test';
import * as examples from '../../src/http/examples.ts';
import { json } from '../support/http-app.ts';
import { createHttpServers, hubThat } from '../support/http-servers.ts';

const { serve, close } = createHttpServers();
afterEach(close);

describe('a question', () => {
  const path = `/api/v1/conversations/${examples.conversationId}/messages`;

  test('is answered with a receipt', async () => {
    const asked: unknown[] = [];
    const send = async (message: unknown) => {
      asked.push(message);
      return examples.turnReceipt;
    };
    const { ask } = serve({ chat: { send } });
    const response = await ask(
      'POST',
      path,
      json({ content: 'x', client_message_id: 'c1', model: 'm', filter: { source_type: 'web' } }),
    );
    expect(response.status).toBe(202);
    expect(await response.json()).toEqual(examples.turnReceipt);
    expect(asked).toEqual([
      {
        conversationId: examples.conversationId,
        content: 'x',
        clientMessageId: 'c1',
        model: 'm',
        filter: { source_type: 'web' },
      },
    ]);
  });

  test('with ?wait=true is answered with the finished turn', async () => {
    const response = await serve().ask('POST', `${path}?wait=true`, json({ content: 'x' }));
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(examples.turn);
  });

  test('that accepts events is answered with those of its turn', async () => {
    const { ask } = serve(
      {},
      hubThat(async (topic, reader) => {
        queueMicrotask(() =>
          reader.event({ topic, epoch: 'e', seq: 1, type: 'turn.completed', json: `{"topic":"${topic}"}` }),
        );
        return () => undefined;
      }),
    );
    const { body, headers } = json({ content: 'x' });
    const response = await ask('POST', path, { body, headers: { ...headers, accept: 'text/event-stream' } });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    expect(await response.text()).toContain(`turn:${examples.turn.id}`);
  });

  test('in one call says what a busy conversation means to it', async () => {
    const asked: unknown[] = [];
    const { ask } = serve({
      chat: {
        async send({ ifBusy }) {
          asked.push(ifBusy);
          return examples.turnReceipt;
        },
      },
    });
    for (const if_busy of ['reject', 'interrupt', undefined]) {
      expect((await ask('POST', '/api/v1/chat', json({ message: 'x', if_busy }))).status).toBe(200);
    }
    expect((await ask('POST', '/api/v1/chat', json({ message: 'x', if_busy: 'perhaps' }))).status).toBe(422);
    expect(asked).toEqual(['reject', 'interrupt', undefined]);
  });

  test('in one call is answered whole', async () => {
    const response = await serve().ask('POST', '/api/v1/chat', json({ message: 'x' }));
    const { conversation_id, id, text, sources } = examples.turn;
    expect(await response.json()).toEqual({ conversation_id, turn_id: id, reply: text, sources });
  });

  test.each([
    ['failed', { code: 'provider_unavailable', message: 'No model answers.' }, 503, 'provider_unavailable'],
    ['failed', { code: 'something_new', message: 'secret' }, 500, 'internal'],
    ['cancelled', null, 409, 'conflict'],
  ] as const)('in one call whose turn %s (%j) is answered %i', async (status, error, code, kind) => {
    const finished = async () => ({ ...examples.turn, status, error });
    const { ask } = serve({ chat: { finished } });
    const response = await ask('POST', '/api/v1/chat', json({ message: 'x' }));
    const text = await response.text();
    expect(response.status).toBe(code);
    expect(JSON.parse(text)).toMatchObject({ code: kind });
    expect(text).not.toContain('secret');
  });

  test('is no longer waited for once the caller has gone', async () => {
    const [waiting, gone] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const finished = (_id: string, signal: AbortSignal) => {
      waiting.resolve();
      return new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          gone.resolve();
          reject(signal.reason);
        });
      });
    };
    const { ask, logged } = serve({ chat: { finished } });
    const leaving = new AbortController();
    const answer = ask('POST', `${path}?wait=true`, { ...json({ content: 'x' }), signal: leaving.signal }).catch(
      (error: unknown) => error,
    );
    await waiting.promise;
    leaving.abort();
    await gone.promise;
    expect(await answer).toBeInstanceOf(Error);
    expect(logged.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });

  test.each([
    ['e1:7', '', { epoch: 'e1', after: 7 }],
    ['a:b:7', '?after=3', { epoch: 'a:b', after: 7 }],
    ['', '?after=3', { after: 3, epoch: undefined }],
    ['', '', { after: undefined, epoch: undefined }],
  ])('is followed on from where its reader was (Last-Event-ID %j, query %j)', async (id, query, expected) => {
    const asked: unknown[] = [];
    const { ask } = serve(
      {},
      hubThat(async (topic, reader, options) => {
        asked.push(options);
        queueMicrotask(() => reader.event({ topic, epoch: 'e', seq: 8, type: 'turn.completed', json: '{}' }));
        return () => undefined;
      }),
    );
    const headers: Record<string, string> = id === '' ? {} : { 'last-event-id': id };
    const response = await ask('GET', `/api/v1/turns/${examples.turn.id}/events${query}`, { headers });
    await response.text();
    expect(asked).toEqual([expected]);
  });

  test('is not followed from a place that says nothing', async () => {
    const { ask } = serve();
    const response = await ask('GET', `/api/v1/turns/${examples.turn.id}/events`, {
      headers: { 'last-event-id': 'seven' },
    });
    expect(response.status).toBe(400);
  });
});
