import { expect, test } from 'bun:test';
import { createMsgpackCodec } from '../../../src/client/msgpack.ts';
import type { TopicEvent } from '../../../src/client/topics.ts';
import { applyTurnEvent, applyTurnReset, isTurnOver, newTurn } from '../../../src/client/turn.ts';
import { delta } from './harness.ts';

const base = { topic: 'turn:t1', epoch: 'e', seq: 1, ts: '' } as const;
const started = (attempt: number): TopicEvent<'turn:t1'> => ({
  ...base,
  type: 'turn.started',
  data: { attempt, turn_id: 't1' },
});
const text = (value: string): TopicEvent<'turn:t1'> => ({ ...base, type: 'turn.delta', data: { text: value } });

test('a later attempt starts the text over', () => {
  const view = [started(1), text('a'), text('b'), started(2), text('c')].reduce(applyTurnEvent, newTurn);
  expect(view).toMatchObject({ status: 'running', attempt: 2, text: 'c' });
  expect(isTurnOver(view)).toBe(false);
});

test('a reset replaces the text by that of the snapshot', () => {
  const view = applyTurnReset(applyTurnEvent(newTurn, text('x')), {
    type: 'reset',
    topic: 'turn:t1',
    epoch: 'e',
    seq: 9,
    snapshot: { status: 'running', attempt: 3, text: 'whole' },
  });
  expect(applyTurnEvent(view, text('!'))).toMatchObject({ text: 'whole!', attempt: 3 });
});

test('the binary codec carries frames there and back and refuses what is none', () => {
  const codec = createMsgpackCodec();
  const bytes = codec.encode({ type: 'subscribe', id: '1', topic: 'turn:t1', after: 3 });
  if (typeof bytes === 'string') throw new Error('expected bytes');
  expect(codec.decode(bytes.buffer) as unknown).toEqual({ type: 'subscribe', id: '1', topic: 'turn:t1', after: 3 });
  expect(codec.decode(new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff]).buffer)).toBeUndefined();
  expect(codec.decode(JSON.stringify(delta(1, 'a')))).toBeUndefined();
});
