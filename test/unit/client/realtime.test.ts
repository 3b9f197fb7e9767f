import { describe, expect, test } from 'bun:test';
import type { ClientError } from '../../../src/client/errors.ts';
import type { Realtime } from '../../../src/client/realtime.ts';
import type { TopicHandler } from '../../../src/client/topics.ts';
import { createHarness, delta, event, type Harness, problem, settle } from './harness.ts';

const TURN = { turn_id: 't1', message_id: 'm1', conversation_id: 'c1' };

async function opened(): Promise<Harness & { realtime: Realtime }> {
  const harness = await createHarness();
  const realtime = harness.client.connect();
  realtime.connect();
  await settle();
  harness.peer().hello();
  return { ...harness, realtime };
}

/** Waits out the longest possible pause and greets on the socket that is dialled then. */
async function reconnect({ clock, peer }: Harness): Promise<void> {
  await clock.advance(30_000);
  peer().hello();
}

function recorder() {
  const log: string[] = [];
  const handler: TopicHandler<`turn:${string}`> = {
    event: (frame) => void log.push(frame.type === 'turn.delta' ? frame.data.text : frame.type),
    reset: (frame) => void log.push(`reset@${frame.seq}`),
    missed: () => void log.push('missed'),
    failed: (error) => void log.push(`failed:${error.code}`),
  };
  return { log, handler };
}

describe('opening', () => {
  test('takes a ticket, names the subprotocol and is open only after hello', async () => {
    const { client, peer, calls } = await createHarness();
    const realtime = client.connect();
    realtime.subscribe('user', { event() {} });
    await settle();
    expect(calls).toContain('POST /ws/tickets');
    expect(peer().url).toBe('ws://localhost:1/ws?ticket=ticket-1');
    expect(peer().protocols).toEqual(['dreamhub.v1.json']);
    expect(realtime.state()).toBe('connecting');
    expect(peer().received).toEqual([]);
    peer().hello();
    expect(realtime.state()).toBe('open');
    expect(peer().of('subscribe')).toHaveLength(1);
    realtime.close();
  });

  test('comes back when a node that goes away says, and not before', async () => {
    const { realtime, peer, peers, clock } = await opened();
    peer().cut(1001, 'reconnect_after_ms=3000');
    expect(realtime.state()).toBe('waiting');
    await clock.advance(2_999);
    expect(peers).toHaveLength(1);
    await clock.advance(1);
    expect(peers).toHaveLength(2);
    realtime.close();
  });

  test('gives up on a socket that does not greet', async () => {
    const { client, peers, clock } = await createHarness();
    const realtime = client.connect();
    realtime.connect();
    await settle();
    await clock.advance(10_000);
    expect(peers[0]?.closed).toBe(true);
    expect(realtime.state()).toBe('waiting');
    await clock.advance(500);
    expect(peers).toHaveLength(2);
    realtime.close();
  });
});

describe('log topics', () => {
  test('go on after a cut from the last number, without a gap or a repeat', async () => {
    const harness = await opened();
    const { log, handler } = recorder();
    harness.realtime.subscribe('turn:t1', handler);
    expect(harness.peer().of('subscribe')[0]).not.toHaveProperty('after');
    harness.peer().ackAll();
    harness.peer().send(delta(1, 'a'));
    harness.peer().send(delta(2, 'b'));
    harness.peer().cut(1006);
    expect(harness.realtime.state()).toBe('waiting');
    await reconnect(harness);
    expect(harness.peer().of('subscribe')[0]).toMatchObject({ topic: 'turn:t1', after: 2, epoch: 'e1' });
    harness.peer().ackAll();
    for (const [seq, text] of [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
      [3, 'c'],
      [4, 'd'],
    ] as const)
      harness.peer().send(delta(seq, text));
    expect(log).toEqual(['a', 'b', 'c', 'd']);
    harness.realtime.close();
  });

  test('ask again from the last number when a number is missing', async () => {
    const { realtime, peer } = await opened();
    const { log, handler } = recorder();
    realtime.subscribe('turn:t1', handler);
    peer().ackAll();
    peer().send(delta(1, 'a'));
    peer().send(delta(3, 'c'));
    peer().send(delta(4, 'd'));
    expect(peer().received.map((frame) => frame.type)).toEqual(['subscribe', 'unsubscribe', 'subscribe']);
    expect(peer().of('subscribe')[1]).toMatchObject({ after: 1, epoch: 'e1' });
    peer().ackAll();
    for (const [seq, text] of [
      [2, 'b'],
      [3, 'c'],
      [4, 'd'],
    ] as const)
      peer().send(delta(seq, text));
    expect(log).toEqual(['a', 'b', 'c', 'd']);
    realtime.close();
  });

  test('take a reset as the whole state and go on from its number', async () => {
    const { realtime, peer } = await opened();
    const { log, handler } = recorder();
    const subscription = realtime.subscribe('turn:t1', handler, { after: 7, epoch: 'old' });
    expect(peer().of('subscribe')[0]).toMatchObject({ after: 7, epoch: 'old' });
    peer().send({ type: 'reset', topic: 'turn:t1', epoch: 'new', seq: 4, snapshot: { text: 'abcd' } });
    peer().ackAll();
    peer().send(delta(4, 'd', 'new'));
    peer().send(delta(5, 'e', 'new'));
    expect(log).toEqual(['reset@4', 'e']);
    expect(subscription.position()).toEqual({ seq: 5, epoch: 'new' });
    realtime.close();
  });

  test('ask again when the epoch changes without a reset', async () => {
    const { realtime, peer } = await opened();
    const { log, handler } = recorder();
    realtime.subscribe('turn:t1', handler);
    peer().ackAll();
    peer().send(delta(1, 'a'));
    peer().send(delta(2, 'x', 'e2'));
    expect(log).toEqual(['a']);
    expect(peer().of('subscribe').at(-1)).toMatchObject({ after: 1, epoch: 'e1' });
    realtime.close();
  });

  test('serve two listeners of one topic, each from its own place', async () => {
    const { realtime, peer } = await opened();
    const early = recorder();
    const late = recorder();
    realtime.subscribe('turn:t1', early.handler);
    peer().ackAll();
    peer().send(delta(1, 'a'));
    const second = realtime.subscribe('turn:t1', late.handler);
    peer().ackAll();
    peer().send(delta(1, 'a'));
    peer().send(delta(2, 'b'));
    expect(early.log).toEqual(['a', 'b']);
    expect(late.log).toEqual(['a', 'b']);
    second.unsubscribe();
    const before = peer().received.length;
    peer().send(delta(3, 'c'));
    expect(early.log).toEqual(['a', 'b', 'c']);
    expect(late.log).toEqual(['a', 'b']);
    expect(peer().received).toHaveLength(before);
    realtime.close();
  });

  test('end with a word when the server refuses them, and are asked again when the refusal may pass', async () => {
    const { realtime, peer, clock } = await opened();
    const gone = recorder();
    const busy = recorder();
    realtime.subscribe('turn:gone', gone.handler);
    realtime.subscribe('turn:busy', busy.handler);
    const [first, second] = peer().of('subscribe');
    peer().send({ type: 'error', id: first?.id ?? '', code: 'not_found', message: 'no such topic' });
    peer().send({
      type: 'error',
      id: second?.id ?? '',
      code: 'rate_limited',
      message: 'slowly',
      retry_after_ms: 3_000,
    });
    expect(gone.log).toEqual(['failed:not_found']);
    expect(busy.log).toEqual([]);
    await clock.advance(3_000);
    expect(
      peer()
        .of('subscribe')
        .map((frame) => frame.topic),
    ).toEqual(['turn:gone', 'turn:busy', 'turn:busy']);
    realtime.close();
  });
});

describe('hint topics', () => {
  test('are handed on as they come, and say after a cut that something may have been missed', async () => {
    const harness = await opened();
    const { realtime, peer } = harness;
    const log: string[] = [];
    realtime.subscribe('user', { event: (frame) => void log.push(frame.type), missed: () => void log.push('missed') });
    peer().ackAll();
    const hint = { document_id: 'd1', task_id: null, title: 'x' };
    peer().send(event('user', 5, 'document.ready', hint));
    peer().send(event('user', 9, 'document.deleted', hint));
    peer().cut(1001);
    await reconnect(harness);
    expect(peer().of('subscribe')[0]).not.toHaveProperty('after');
    peer().ackAll();
    expect(log).toEqual(['document.ready', 'document.deleted', 'missed']);
    realtime.close();
  });
});

describe('requests', () => {
  test('name the turn and hand its events to the handler, those that overtook the acknowledgement too', async () => {
    const { realtime, peer } = await opened();
    const { log, handler } = recorder();
    const sent = realtime.sendChat({ content: 'hello' }, handler);
    expect(peer().of('chat.send')[0]).toMatchObject({ content: 'hello', client_message_id: 'uuid' });
    peer().send(event('turn:t1', 1, 'turn.queued', TURN));
    peer().ackAll(TURN);
    peer().send(delta(2, 'a'));
    expect(await sent).toMatchObject(TURN);
    expect(log).toEqual(['turn.queued', 'a']);
    expect(peer().of('subscribe')).toEqual([]);
    realtime.close();
  });

  test('are sent again with the same message id after a cut, and fail at their own deadline', async () => {
    const harness = await opened();
    const { realtime, peer, clock } = harness;
    const sent = realtime.sendChat({ content: 'hello', client_message_id: 'mine' });
    peer().cut(1006);
    await clock.advance(500);
    peer().hello();
    expect(peer().of('chat.send')).toMatchObject([{ client_message_id: 'mine' }]);
    const failure = sent.catch((error: ClientError) => error.code);
    await clock.advance(10_000);
    expect(await failure).toBe('timeout');
    realtime.close();
  });

  test('carry the code and the pause of a refusal', async () => {
    const { realtime, peer } = await opened();
    const failure = realtime.sendChat({ content: 'x' }).catch((error: ClientError) => error);
    peer().send({
      type: 'error',
      id: peer().of('chat.send')[0]?.id ?? '',
      code: 'quota_exceeded',
      message: 'no more',
      retry_after_ms: 60_000,
    });
    expect(await failure).toMatchObject({ code: 'quota_exceeded', retryAfterMs: 60_000 });
    realtime.close();
  });

  test('fail when the connection is closed, and later ones too', async () => {
    const { realtime } = await opened();
    const failure = realtime.cancelTurn('t1').catch((error: ClientError) => error.code);
    realtime.close();
    expect(await failure).toBe('closed');
    expect(await realtime.cancelTurn('t1').catch((error: ClientError) => error.code)).toBe('closed');
  });
});

describe('the session', () => {
  test('is renewed on 4401 before dialling again', async () => {
    const { realtime, peer, peers, calls, client } = await opened();
    peer().cut(4401);
    await settle();
    await settle();
    expect(calls.filter((call) => call === 'POST /auth/refresh')).toHaveLength(1);
    expect(client.session.current()?.access_token).toBe('access-2');
    expect(peers).toHaveLength(2);
    peer().hello();
    expect(realtime.state()).toBe('open');
    realtime.close();
  });

  test('ends when the renewal is refused', async () => {
    const { realtime, peer, peers, client, answer } = await opened();
    const { log, handler } = recorder();
    realtime.subscribe('turn:t1', handler);
    answer('POST /auth/refresh', () => problem(401, 'unauthenticated'));
    peer().cut(4401);
    await settle();
    expect(realtime.state()).toBe('signed-out');
    expect(client.session.current()).toBeNull();
    expect(log).toEqual(['failed:closed']);
    expect(peers).toHaveLength(1);
  });

  test('ends when fresh tokens are refused again and again', async () => {
    const { realtime, peer, clock } = await opened();
    for (let i = 0; i < 4; i += 1) {
      peer().cut(4401);
      await clock.advance(1_000);
    }
    expect(realtime.state()).toBe('signed-out');
  });

  test('is renewed before it runs out and told to the open socket', async () => {
    const { realtime, peer, peers, clock } = await opened();
    for (let i = 0; i < 60; i += 1) {
      await clock.advance(15_000);
      peer().send({ type: 'pong' });
    }
    expect(peers).toHaveLength(1);
    expect(peer().of('auth.refresh')).toEqual([{ type: 'auth.refresh', token: 'access-2' }]);
    realtime.close();
  });
});

describe('trying again', () => {
  test('waits within full jitter: up to twice as long each time, never above the cap', async () => {
    for (const random of [0, 0.5, 0.999]) {
      const { client, clock, peers, setRandom } = await createHarness();
      setRandom(random);
      const realtime = client.connect();
      realtime.connect();
      await settle();
      for (let attempt = 0; attempt < 10; attempt += 1) {
        expect(peers).toHaveLength(attempt + 1);
        peers[attempt]?.cut(1006);
        const wait = random * Math.min(30_000, 500 * 2 ** attempt);
        expect(clock.waiting()).toEqual([wait]);
        await clock.advance(wait);
      }
      realtime.close();
    }
  });

  test('starts over after a connection that lasted, not after one that flapped', async () => {
    const { realtime, peer, clock } = await opened();
    peer().cut(1006);
    expect(clock.waiting()).toEqual([250]);
    await clock.advance(250);
    peer().hello();
    peer().cut(1006);
    expect(clock.waiting()).toEqual([500]);
    await clock.advance(500);
    peer().hello();
    await clock.advance(6_000);
    peer().cut(1006);
    expect(clock.waiting()).toEqual([250]);
    realtime.close();
  });

  test('backs off when told that there are too many', async () => {
    const { realtime, peer, clock } = await opened();
    peer().cut(4429);
    expect(clock.waiting()).toEqual([5_250]);
    realtime.close();
  });

  test('waits as long as a refused ticket says', async () => {
    const { client, clock, answer } = await createHarness();
    answer('POST /ws/tickets', () => problem(503, 'unavailable', { 'retry-after': '7' }));
    const realtime = client.connect();
    realtime.connect();
    await settle();
    expect(clock.waiting()).toEqual([7_250]);
    realtime.close();
  });

  test('happens at once when nudged', async () => {
    const { realtime, peer, peers } = await opened();
    peer().cut(1006);
    realtime.nudge();
    await settle();
    expect(peers).toHaveLength(2);
    realtime.close();
  });

  test('never happens after close', async () => {
    const { realtime, peer, peers, clock } = await opened();
    realtime.close();
    expect(peer().closed).toBe(true);
    await clock.advance(120_000);
    expect(peers).toHaveLength(1);
    expect(clock.waiting()).toEqual([]);
  });
});

describe('a silent connection', () => {
  test('is pinged at each heartbeat and given up after two without a sign of life', async () => {
    const { realtime, peer, peers, clock } = await opened();
    await clock.advance(15_000);
    expect(peer().of('ping')).toHaveLength(1);
    peer().send({ type: 'pong' });
    await clock.advance(15_000);
    expect(realtime.state()).toBe('open');
    await clock.advance(15_000);
    expect(peers[0]?.closed).toBe(true);
    expect(realtime.state()).toBe('waiting');
    realtime.close();
  });
});
