import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createMessageReader, frontend, ProtocolError, stringAt } from '../../../src/db/embedded-protocol.ts';

describe('the message reader', () => {
  test('gives back the same messages however their bytes arrive', () => {
    const sent = [frontend.parse('s1', 'select $1'), frontend.closeStatement('s1'), frontend.sync, frontend.query('é')];
    const bytes = Buffer.concat(sent);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: bytes.length })), (cuts) => {
        const reader = createMessageReader();
        const got: Buffer[] = [];
        const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        for (const [i, edge] of edges.slice(1).entries()) {
          reader.push(bytes.subarray(edges[i], edge));
          for (let next = reader.next(); next; next = reader.next()) got.push(Buffer.from(next.bytes));
        }
        expect(got).toEqual(sent);
      }),
    );
  });

  test('reads the first message, which has no type, and goes on with typed ones', () => {
    const reader = createMessageReader();
    reader.push(Buffer.concat([frontend.startup({ user: 'somebody' }), frontend.sync]));
    expect(reader.startup()).toMatchObject({ code: 196_608 });
    expect(reader.next()).toMatchObject({ type: 'S' });
    expect(reader.next()).toBeNull();
  });

  test.each([0, 3, -1, 0x7fffffff])('refuses a message that says it is %d bytes long', (length) => {
    const bytes = Buffer.from(frontend.sync);
    bytes.writeInt32BE(length, 1);
    const reader = createMessageReader();
    reader.push(bytes);
    expect(() => reader.next()).toThrow(ProtocolError);
  });
});

test('a string without its end is refused', () => {
  expect(stringAt(Buffer.from('ab\0cd\0'), 3)).toEqual({ text: 'cd', next: 6 });
  expect(() => stringAt(Buffer.from('ab'), 0)).toThrow(ProtocolError);
});
