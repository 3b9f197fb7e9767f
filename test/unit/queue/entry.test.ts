import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { LANES, PAYLOAD_VERSION } from '../../../src/contracts/index.ts';
import { createDecoder, encodeJob, jobIdOf } from '../../../src/queue/entry.ts';
import { createKeys } from '../../../src/redis/keys.ts';

const keys = createKeys({ partitions: 4 });
const job = fc.record({
  v: fc.integer({ min: 1, max: PAYLOAD_VERSION }),
  lane: fc.constantFrom(...LANES),
  tenantId: fc.uuid(),
  userId: fc.uuid(),
  id: fc.uuid(),
  traceparent: fc.constantFrom('', `00-${'0a'.repeat(16)}-${'0b'.repeat(8)}-01`),
});

test('a job comes out as it went in', () => {
  fc.assert(
    fc.property(job, fc.double({ min: 0.01, max: 1_000 }), (given, weight) => {
      const decode = createDecoder(keys, given.lane);
      const stream = keys.stream(given.lane, given.tenantId);
      const payload = encodeJob(given, weight);
      expect(decode(stream, payload)).toEqual({ type: 'job', job: given });
      expect(decode(stream, payload)).toEqual({ type: 'job', job: given });
      expect(jobIdOf(payload)).toBe(given.id);
    }),
  );
});

test('an entry in the stream of another tenant or lane is refused, also after its own was seen', () => {
  fc.assert(
    fc.property(job, fc.uuid(), (given, other) => {
      fc.pre(other !== given.tenantId);
      const decode = createDecoder(keys, 'ingest');
      const payload = encodeJob(given, 1);
      decode(keys.stream('ingest', given.tenantId), payload);
      expect(decode(keys.stream('ingest', other), payload).type).toBe('undecodable');
      expect(decode(keys.stream('chat', given.tenantId), payload).type).toBe('undecodable');
    }),
  );
});

test('a newer version is told apart from nonsense', () => {
  const decode = createDecoder(keys, 'ingest');
  expect(decode('any', `${PAYLOAD_VERSION + 1} whatever it has`)).toEqual({
    type: 'newer',
    version: PAYLOAD_VERSION + 1,
  });
  for (const payload of ['', ' ', '0 1', '-1 1', '1.5 1', '1', 'a b c d e f']) {
    expect(decode('any', payload).type).toBe('undecodable');
  }
});

test('nothing that an entry may hold makes decoding throw', () => {
  const decode = createDecoder(keys, 'ingest');
  fc.assert(fc.property(fc.string(), fc.string({ unit: 'binary' }), (stream, payload) => void decode(stream, payload)));
});
