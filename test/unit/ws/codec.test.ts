import { describe, expect, test } from 'bun:test';
import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { createJsonCodec, createMsgpackCodec, negotiate } from '../../../src/ws/codec.ts';
import { isPlausible } from '../../../src/ws/msgpack-shape.ts';

const json = createJsonCodec();
const msgpack = createMsgpackCodec({ maxFrameBytes: 65_536 });

describe('MessagePack', () => {
  test('of any value is plausible, and no longer when it is cut or continued', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.nat(), (value, at) => {
        const bytes = encode(value);
        expect(isPlausible(bytes, 10)).toBe(true);
        expect(isPlausible(bytes.slice(0, at % bytes.length), 10)).toBe(false);
        expect(isPlausible(Uint8Array.from([...bytes, 0xc0]), 10)).toBe(false);
      }),
    );
  });

  test('of every type is measured right', () => {
    const values = [
      0,
      127,
      128,
      65_536,
      2 ** 33,
      -1,
      -33,
      -40_000,
      -(2 ** 33),
      1.5,
      'x'.repeat(40),
      'x'.repeat(300),
      'x'.repeat(70_000),
    ];
    const more = [
      new Uint8Array(10),
      new Uint8Array(300),
      new Uint8Array(70_000),
      new Date(0),
      new Date(1_234),
      Array(20).fill(0),
      Array(70_000).fill(0),
    ];
    const maps = [Object.fromEntries(Array.from({ length: 20 }, (_, i) => [i, i])), null, true, false];
    for (const value of [...values, ...more, ...maps]) {
      expect(isPlausible(encode(value), 3)).toBe(true);
      expect(isPlausible(encode([value, value]), 3)).toBe(true);
    }
  });

  test('that is not valid never reaches a caller', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const frame = msgpack.decode(bytes);
        expect(frame === null || (typeof frame === 'object' && !Array.isArray(frame))).toBe(true);
      }),
    );
  });

  test('is encoded once for all readers of an event', () => {
    const event = {
      topic: 't',
      epoch: 'e',
      seq: 1,
      type: 'turn.delta',
      json: '{"type":"turn.delta","seq":1}',
    } as const;
    expect(msgpack.encodeEvent(event)).toBe(msgpack.encodeEvent(event));
    expect(msgpack.decode(msgpack.encodeEvent(event) as Uint8Array)).toEqual({ type: 'turn.delta', seq: 1 });
  });
});

test('only maps are frames, and each subprotocol takes its own kind of message', () => {
  for (const text of ['[]', '1', '"x"', 'null', '{', '']) expect(json.decode(text)).toBeNull();
  expect(json.decode('{"type":"ping","x":"0012"}')).toEqual({ type: 'ping', x: '0012' });
  expect(json.decode(new TextEncoder().encode('{}'))).toBeNull();
  expect(msgpack.decode('{}')).toBeNull();
  for (const value of [[], 1, 'x', null, new Uint8Array(3), new Date()])
    expect(msgpack.decode(encode(value))).toBeNull();
});

test('nesting has an end', () => {
  const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;
  expect(json.decode(nested(10))).not.toBeNull();
  expect(json.decode(nested(60))).toBeNull();
  expect(msgpack.decode(encode(JSON.parse(nested(60))))).toBeNull();
});

test('the first subprotocol that is ours is taken', () => {
  expect(negotiate(null)).toBe('dreamhub.v1.json');
  expect(negotiate('')).toBe('dreamhub.v1.json');
  expect(negotiate('x, dreamhub.v1.msgpack ,dreamhub.v1.json')).toBe('dreamhub.v1.msgpack');
  expect(negotiate('x, dreamhub.v2.json')).toBeNull();
});
