import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { decodeBatch, encodeHint, hintRoute, logEntry, numberHint } from '../../../src/realtime/batch.ts';
import { uuid } from '../../support/realtime.ts';

test('a hint survives the channel and is numbered without being parsed', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(), (data, seq) => {
      const route = hintRoute(uuid(), uuid(), 'user');
      const [batch] = decodeBatch(encodeHint(route, 'user', 'conversation.updated', '2026-01-01T00:00:00.000Z', data), {
        hint: () => true,
        log: () => undefined,
      });
      if (batch?.kind !== 'hint') throw new Error('no hint');
      expect(batch.route).toBe(route);
      const event = numberHint(batch.frames[0] ?? '', batch.topic, 'e1', seq);
      expect(JSON.parse(event.json)).toEqual({
        type: 'conversation.updated',
        topic: 'user',
        epoch: 'e1',
        seq,
        ts: '2026-01-01T00:00:00.000Z',
        data: JSON.parse(JSON.stringify(data)),
      });
      expect(event.type).toBe('conversation.updated');
    }),
  );
});

test('groups of one message keep their numbers, and what nobody wants is left out', () => {
  const [one, two] = [`turn:${uuid()}`, `turn:${uuid()}`];
  const lines = [one, two].flatMap((topic) => [
    `L key:${topic} e1 8 1 0 w 3 2`,
    logEntry('turn.delta', '2026-01-01T00:00:00.000Z', '{"text":"a \\nH {"}'),
    logEntry('turn.delta', '2026-01-01T00:00:00.001Z', '{"text":"b"}'),
  ]);
  const wanted = { hint: () => false, log: (route: string) => (route === `key:${two}` ? two : undefined) };
  const batches = decodeBatch(lines.join('\n'), wanted);
  expect(batches).toMatchObject([{ kind: 'log', route: `key:${two}`, events: [{ seq: 7 }, { seq: 8 }] }]);
  const [batch] = batches;
  if (batch?.kind !== 'log') throw new Error('no log');
  expect(batch.events.map(({ json }) => JSON.parse(json))).toEqual([
    { type: 'turn.delta', topic: two, epoch: 'e1', seq: 7, ts: '2026-01-01T00:00:00.000Z', data: { text: 'a \nH {' } },
    { type: 'turn.delta', topic: two, epoch: 'e1', seq: 8, ts: '2026-01-01T00:00:00.001Z', data: { text: 'b' } },
  ]);
});

test('hints of the tenant go to everybody, others to their user', () => {
  const [tenant, user] = [uuid(), uuid()];
  expect(hintRoute(tenant, user, 'tenant')).toBe(`${tenant} * tenant`);
  expect(hintRoute(tenant, user, 'user')).toBe(`${tenant} ${user} user`);
});
