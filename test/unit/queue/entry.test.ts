import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { LANES, PAYLOAD_VERSION } from '../../../src/contracts/index.ts';
import { createDecoder, encodeJob, jobIdOf, type PayloadVersions, UPGRADES } from '../../../src/queue/entry.ts';
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
    fc.property(job, fc.double({ min: 0.01, max: 1_000, noNaN: true }), (given, weight) => {
      const decode = createDecoder(keys, given.lane);
      const stream = keys.stream(given.lane, given.tenantId);
      const payload = encodeJob(given, weight);
      expect(decode(stream, payload)).toEqual({ type: 'job', job: given, weight });
      expect(decode(stream, payload)).toEqual({ type: 'job', job: given, weight });
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

test('every version before this one has a step to the next', () => {
  const steps = Object.keys(UPGRADES).map(Number);
  expect(steps).toEqual(Array.from({ length: PAYLOAD_VERSION - 1 }, (_, index) => index + 1));
});

/** As a program two versions from now: the first had no user, the second no trace. */
const later: PayloadVersions = {
  current: 3,
  upgrades: {
    1: ([weight = '', tenant = '', id = '']) => [weight, tenant, tenant, id],
    2: (parts) => [...parts, ''],
  },
};

test('an older version is brought up to date step by step, and says that it is', () => {
  const decode = createDecoder(keys, 'ingest', later);
  const [tenant, user, id] = [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()];
  const stream = keys.stream('ingest', tenant);
  const upToDate = (userId: string) => ({
    type: 'job' as const,
    job: { v: 3, lane: 'ingest' as const, tenantId: tenant, userId, id, traceparent: '' },
    weight: 1,
  });
  expect(decode(stream, `1 1 ${tenant} ${id}`)).toEqual(upToDate(tenant));
  expect(decode(stream, `2 1 ${tenant} ${user} ${id}`)).toEqual(upToDate(user));
  expect(decode(stream, `3 1 ${tenant} ${user} ${id} `)).toEqual(upToDate(user));
  expect(decode(stream, `4 1 ${tenant} ${user} ${id} `)).toEqual({ type: 'newer', version: 4 });
});

test('a version that no step leads from is nonsense, and so is what a step makes no job of', () => {
  const decode = createDecoder(keys, 'ingest', { ...later, upgrades: { 2: (parts) => [...parts] } });
  expect(decode('any', '1 1 a b')).toMatchObject({ type: 'undecodable', problem: expect.stringContaining('1') });
  expect(decode('any', '2 1 a b').type).toBe('undecodable');
});

test('nothing that an entry may hold makes decoding throw', () => {
  const decode = createDecoder(keys, 'ingest');
  fc.assert(fc.property(fc.string(), fc.string({ unit: 'binary' }), (stream, payload) => void decode(stream, payload)));
});
