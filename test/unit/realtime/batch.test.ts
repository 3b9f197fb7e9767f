import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { decodeBatch, encodeHint, hintRoute, logEvent, logRoute, numberHint } from '../../../src/realtime/batch.ts';
import { uuid } from '../../support/realtime.ts';

test('a hint survives the channel and is numbered without being parsed', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(), (data, seq) => {
      const route = hintRoute(uuid(), uuid(), 'user');
      const [batch] = decodeBatch(
        encodeHint(route, 'user', 'conversation.updated', '2026-01-01T00:00:00.000Z', data),
        () => true,
      );
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
  const [tenant, one, two] = [uuid(), `turn:${uuid()}`, `turn:${uuid()}`];
  const lines = [one, two].flatMap((topic) => [
    `L ${tenant} ${topic} e1 7`,
    logEvent(topic, 'e1', 7, 'turn.delta', 't', '{"text":"a\\n{"}').json,
    logEvent(topic, 'e1', 8, 'turn.delta', 't', '{"text":"b"}').json,
  ]);
  const batches = decodeBatch(lines.join('\n'), (route) => route === logRoute(tenant, two));
  expect(batches).toMatchObject([
    {
      kind: 'log',
      route: logRoute(tenant, two),
      events: [
        { topic: two, seq: 7, type: 'turn.delta' },
        { topic: two, seq: 8 },
      ],
    },
  ]);
});

test('hints of the tenant go to everybody, others to their user', () => {
  const [tenant, user] = [uuid(), uuid()];
  expect(hintRoute(tenant, user, 'tenant')).toBe(`${tenant} * tenant`);
  expect(hintRoute(tenant, user, 'user')).toBe(`${tenant} ${user} user`);
});
