import { describe, expect, test } from 'bun:test';
import { parseNode, parseRedisUrl } from '../../../src/redis/address.ts';

describe('the address of Redis', () => {
  test('of one server is passed on as it is', () => {
    for (const url of ['redis://cache:6379/1', 'rediss://cache', 'unix:/run/redis.sock']) {
      expect(parseRedisUrl(url)).toEqual({ kind: 'server', url });
    }
  });

  test('of a cluster names some of its servers, and who signs in', () => {
    expect(parseRedisUrl('redis+cluster://a:7000,b,[::1]:7002')).toEqual({
      kind: 'cluster',
      nodes: [
        { host: 'a', port: 7000 },
        { host: 'b', port: 6379 },
        { host: '::1', port: 7002 },
      ],
      tls: false,
    });
    expect(parseRedisUrl('rediss+cluster://app:p%40ss@a:7000')).toEqual({
      kind: 'cluster',
      nodes: [{ host: 'a', port: 7000 }],
      tls: true,
      username: 'app',
      password: 'p@ss',
    });
    expect(parseRedisUrl('redis+cluster://:secret@a')).toMatchObject({ password: 'secret' });
  });

  test('that cannot be read is refused without being repeated', () => {
    for (const rest of ['', ',', 'a:0', 'a:70000', 'a b', 'a,,b', ':secret@', 'a/1']) {
      expect(() => parseRedisUrl(`redis+cluster://${rest}`)).toThrow(/^a cluster is redis\+cluster/);
    }
  });

  test('of a server that a cluster names may leave out the host', () => {
    const base = { host: '10.0.0.1', port: 7000 };
    expect(parseNode(':7001', base)).toEqual({ host: '10.0.0.1', port: 7001 });
    expect(parseNode('10.0.0.2:7002', base)).toEqual({ host: '10.0.0.2', port: 7002 });
    expect(parseNode('::1:7003')).toEqual({ host: '::1', port: 7003 });
    expect(parseNode(':7001', { host: '::1', port: 7000 })).toEqual({ host: '::1', port: 7001 });
    expect(parseNode('')).toBeUndefined();
  });
});
