import { describe, expect, test } from 'bun:test';
import { ClientError } from '../../../src/client/errors.ts';
import { createHarness, problem, settle, tokens } from './harness.ts';

describe('a session', () => {
  test('renews once for all calls that were refused together, and repeats them', async () => {
    const { client, calls, answer } = await createHarness();
    let refused = 0;
    answer('GET /me', () => {
      if (client.session.current()?.access_token !== 'access-1') return Response.json({ ok: true });
      refused += 1;
      return problem(401, 'unauthenticated');
    });
    await Promise.all([client.auth.me(), client.auth.me(), client.auth.me()]);
    expect(refused).toBe(3);
    expect(calls.filter((call) => call === 'POST /auth/refresh')).toHaveLength(1);
    expect(calls.filter((call) => call === 'GET /me')).toHaveLength(6);
  });

  test('renews before a call when the token is about to end', async () => {
    const { client, calls, clock, answer } = await createHarness();
    answer('GET /me', () => Response.json({}));
    await clock.advance(896_000);
    await client.auth.me();
    expect(calls.slice(1)).toEqual(['POST /auth/refresh', 'GET /me']);
  });

  test('is over when the refresh token is refused', async () => {
    const { client, answer } = await createHarness();
    answer('GET /me', () => problem(401, 'unauthenticated'));
    answer('POST /auth/refresh', () => problem(401, 'unauthenticated'));
    const error = await client.auth.me().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'unauthenticated', status: 401 });
    expect(client.session.current()).toBeNull();
  });

  test('outlives a refresh that did not get through', async () => {
    const { client, answer } = await createHarness();
    answer('GET /me', () => problem(401, 'unauthenticated'));
    answer('POST /auth/refresh', () => {
      throw new TypeError('failed to fetch');
    });
    expect(await client.auth.me().catch((error: ClientError) => error.code)).toBe('network');
    expect(client.session.current()?.refresh_token).toBe('refresh-1');
  });

  test('stays out when it was left while being renewed', async () => {
    const { client, answer } = await createHarness();
    answer('GET /me', () => problem(401, 'unauthenticated'));
    answer('POST /auth/logout', () => new Response(null, { status: 204 }));
    const refreshed = Promise.withResolvers<Response>();
    answer('POST /auth/refresh', () => {
      void client.auth.logout().then(() => refreshed.resolve(Response.json(tokens(9))));
      return Response.json(tokens(9));
    });
    await client.auth.me().catch(() => {});
    await refreshed.promise;
    await settle();
    expect(client.session.current()).toBeNull();
  });
});

describe('an error', () => {
  test('carries what the problem document says', async () => {
    const { client, answer } = await createHarness();
    answer('GET /documents', () => problem(429, 'rate_limited', { 'retry-after': '3' }));
    const error = await client.documents.list().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({
      code: 'rate_limited',
      status: 429,
      message: 'detail of rate_limited',
      retryAfterMs: 3_000,
      traceId: 'f'.repeat(32),
    });
  });

  test('says so when something else answered in the place of the server', async () => {
    const { client, answer } = await createHarness();
    answer('GET /documents', () => new Response('<h1>Bad gateway</h1>', { status: 502 }));
    answer('GET /tasks', () => new Response('<h1>Welcome to the hotel</h1>'));
    expect(await client.documents.list().catch((error: ClientError) => error.code)).toBe('unavailable');
    expect(await client.tasks.list().catch((error: ClientError) => error.code)).toBe('invalid_response');
  });
});

describe('an upload', () => {
  test('is sent as a form with the file last, and reports all of it', async () => {
    const { client, answer } = await createHarness();
    answer('POST /upload', () =>
      Response.json({ document_id: 'd', task_id: 't', status: 'queued', duplicate: false }, { status: 202 }),
    );
    const progress: number[] = [];
    const file = new File(['hello'], 'hello.txt');
    const result = await client.documents.upload(file, { title: 'Hello', onProgress: (sent) => progress.push(sent) });
    expect(result.document_id).toBe('d');
    expect(progress).toEqual([0, 5]);
  });
});
