import { describe, expect, test } from 'bun:test';
import { encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { isPlausible } from '../../../src/ws/msgpack-shape.ts';

describe('a look at the shape of MessagePack', () => {
  test('takes whatever the encoder makes, with strings and bytes of every length class', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 5 },
        fc.string({ maxLength: 300 }),
        fc.uint8Array({ maxLength: 300 }),
        fc.double(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('any'), { maxLength: 20 }),
        fc.dictionary(fc.string({ maxLength: 40 }), tie('any'), { maxKeys: 20 }),
      ),
    })).any;
    fc.assert(fc.property(value, (one) => isPlausible(encode(one, { maxDepth: 50 }), 40)));
    expect(isPlausible(encode('x'.repeat(70_000)), 4)).toBe(true);
  });

  test('refuses what announces more than there is, and what is cut', () => {
    expect(isPlausible(new Uint8Array([0xdd, 0xff, 0xff, 0xff, 0xff]), 10)).toBe(false);
    expect(isPlausible(new Uint8Array([0xdb, 0x7f, 0xff, 0xff, 0xff]), 10)).toBe(false);
    const whole = encode({ topic: 'x'.repeat(41), list: [1, 2, 3] });
    for (let cut = 0; cut < whole.length; cut++)
      expect([cut, isPlausible(whole.slice(0, cut), 10)]).toEqual([cut, false]);
    expect(isPlausible(new Uint8Array(50).fill(0x91), 10)).toBe(false);
  });
});
