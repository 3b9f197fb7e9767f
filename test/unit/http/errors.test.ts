import { describe, expect, test } from 'bun:test';
import type { DocumentResource } from '../../../src/contracts/index.ts';
import * as examples from '../../../src/http/examples.ts';
import { AppError, ERROR_KINDS, type ErrorKind } from '../../../src/kernel/errors.ts';
import { createHttpApp, json } from '../../support/http-app.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';

function failing(error: unknown) {
  return createHttpApp({ identity: { me: () => Promise.reject(error) } });
}

describe('an error', () => {
  test.each(Object.keys(ERROR_KINDS) as ErrorKind[])('of kind %s has its status and form', async (kind) => {
    const { call } = failing(new AppError(kind, 'what happened'));
    const response = await call('GET', '/api/v1/me', { headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` } });
    const { status, title } = ERROR_KINDS[kind];
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(await response.json()).toEqual({
      type: 'about:blank',
      title,
      status,
      code: kind === 'malformed' ? 'invalid_request' : kind,
      detail: 'what happened',
      trace_id: TRACE,
    });
    expect(response.headers.has('retry-after')).toBe(status === 429 || status === 503);
  });

  test.each([
    [1, '1'],
    [1_000, '1'],
    [1_001, '2'],
    [90_000, '90'],
    [0, '1'],
    [undefined, '5'],
  ])('that passes in %p ms says to retry after %p s', async (retryAfterMs, seconds) => {
    const options = retryAfterMs === undefined ? {} : { retryAfterMs };
    const { call } = failing(new AppError('queue_full', 'full', options));
    expect((await call('GET', '/api/v1/me')).headers.get('retry-after')).toBe(seconds);
  });

  test.each([
    ['an error', new Error('password=hunter2')],
    ['an error with the code of a status', Object.assign(new Error('hunter2'), { code: '23505', status: 418 })],
    ['a string', 'hunter2'],
    ['nothing', undefined],
  ])('that is %s says nothing of its cause, and is logged with it', async (_what, thrown) => {
    const { call, logged } = failing(thrown);
    const response = await call('GET', '/api/v1/me');
    const text = await response.text();
    expect(response.status).toBe(500);
    expect(text).not.toContain('hunter2');
    const { trace_id, code } = JSON.parse(text) as Record<string, string>;
    expect(code).toBe('internal');
    const line = logged.find(({ level }) => level === 50);
    expect(line?.trace_id).toBe(trace_id);
    if (thrown instanceof Error) expect(JSON.stringify(line)).toContain('hunter2');
  });

  test.each(['57014', '55P03', '40P01', '40001', '53100'])(
    'that a database gives for being busy (%s) says when to come again, and is logged',
    async (code) => {
      const { call, logged } = failing(Object.assign(new Error('canceling statement hunter2'), { code }));
      const response = await call('GET', '/api/v1/me');
      const text = await response.text();
      expect(response.status).toBe(503);
      expect(JSON.parse(text)).toMatchObject({ code: 'unavailable', detail: 'The database is busy.' });
      expect(response.headers.get('retry-after')).toBe('1');
      expect(text).not.toContain('hunter2');
      expect(JSON.stringify(logged.find(({ level }) => level === 40))).toContain('hunter2');
    },
  );

  test('brings the fields that a service found fault with', async () => {
    const errors = [{ path: '/email', message: 'Not an e-mail address' }];
    const { call } = failing(new AppError('invalid_request', 'no', { errors }));
    expect(await (await call('GET', '/api/v1/me')).json()).toMatchObject({ errors });
  });
});

describe('an answer that does not fit its schema', () => {
  const broken: DocumentResource = JSON.parse(
    JSON.stringify({ ...examples.document, visibility: 'hunter2', size: 'hunter2' }),
  );

  test('is an error of ours that names the fields and shows nothing of them', async () => {
    const { call, logged } = createHttpApp({ documents: { get: async () => broken } });
    const response = await call('GET', `/api/v1/documents/${examples.documentId}`);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('visibility');
    const line = JSON.stringify(logged.find(({ level }) => level === 50));
    expect(line).toContain('/visibility');
    expect(line).toContain('/size');
    expect(line).not.toContain('hunter2');
  });

  test('but for properties beyond it is sent without them', async () => {
    const more = Object.assign({ secret: 'hunter2' }, examples.document);
    const { call } = createHttpApp({
      documents: { get: async () => more, list: async () => ({ items: [more], next_cursor: null }) },
    });
    expect(await (await call('GET', `/api/v1/documents/${examples.documentId}`)).json()).toEqual(examples.document);
    expect(await (await call('GET', '/api/v1/documents')).json()).toEqual({
      items: [examples.document],
      next_cursor: null,
    });
  });
});

describe('a body', () => {
  const post = (body: string, headers: Record<string, string> = { 'content-type': 'application/json' }) =>
    createHttpApp().call('POST', '/api/v1/search', { body, headers });

  test.each(['{"query": "hunter2', 'hunter2', '\ufeff', '[', '{"a":1}}'])(
    'that is no JSON (%j) is malformed',
    async (body) => {
      const response = await post(body);
      expect(response.status).toBe(400);
      const text = await response.text();
      expect(JSON.parse(text)).toMatchObject({ code: 'invalid_request', status: 400 });
      expect(text).not.toContain('hunter2');
    },
  );

  test('that is nested too deeply is refused before anything walks through it', async () => {
    const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;
    const started = process.cpuUsage();
    for (const body of [`{"query":${nested(20_000)}}`, `{"query":"x","filter":{"metadata":{"a":${nested(9_000)}}}}`]) {
      const response = await post(body);
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({ code: 'invalid_request' });
    }
    // Reporting it level by level took eighteen seconds.
    expect(process.cpuUsage(started).user).toBeLessThan(3_000_000);
    expect(await (await post(`{"query":${nested(20)}}`)).json()).toMatchObject({ errors: [{ path: '/query' }] });
  });

  test('with a condition of a filter that there is not is refused: left out, it would find everything', async () => {
    const response = await post('{"query":"x","filter":{"document_id":"y"}}');
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ errors: [{ path: '/filter/document_id' }] });
  });

  test('that is no UTF-8 is malformed', async () => {
    const { call } = createHttpApp();
    const body = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);
    expect(
      (await call('POST', '/api/v1/search', { body, headers: { 'content-type': 'application/json' } })).status,
    ).toBe(400);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'of type %s is not supported',
    async (type) => {
      const response = await post('query=x', { 'content-type': type });
      expect(response.status).toBe(415);
      expect(await response.json()).toMatchObject({ code: 'unsupported_media_type' });
    },
  );

  test.each([
    ['{}', '/query'],
    ['null', ''],
    ['[]', ''],
    ['"hunter2"', ''],
    ['{"query": 17}', '/query'],
    ['{"query": ""}', '/query'],
    ['{"query": "x", "top_k": 101}', '/top_k'],
    ['{"query": "x", "top_k": 1.5}', '/top_k'],
    ['{"query": "x", "top_k": "7"}', '/top_k'],
    ['{"query": "x", "mode": "hunter2"}', '/mode'],
    ['{"query": "x", "filter": {"document_ids": ["hunter2"]}}', '/filter/document_ids/0'],
    ['{"query": "x", "filter": {"metadata": {"a": {"hunter2": 1}}}}', '/filter/metadata'],
    [`{"query": "${'hunter2'.repeat(1_200)}"}`, '/query'],
  ])('that does not fit (%.60s) says where and never repeats what was sent', async (body, path) => {
    const response = await post(body);
    const text = await response.text();
    expect(response.status).toBe(422);
    expect(text).not.toContain('hunter2');
    const { errors } = JSON.parse(text) as { errors: { path: string; message: string }[] };
    expect(errors.map((error) => error.path)).toContain(path);
    for (const error of errors) expect(error.message).not.toBe('');
  });

  test.each(['"a\\u0000b"', '"\\ud83d"', '"\\udc00\\ud83d"', '"x", "filter": {"metadata": {"a\\u0000": 1}}'])(
    'with text that cannot be stored (%s) does not fit',
    async (value) => {
      expect((await post(`{"query": ${value}}`)).status).toBe(422);
    },
  );

  test.each(['"a \\\\u0000 b"', '"\\ud83d\\ude00"'])(
    'with text that only looks like that (%s) is taken',
    async (value) => {
      expect((await post(`{"query": ${value}}`)).status).toBe(200);
    },
  );

  test('that is too large is refused by what it says', async () => {
    const headers = { 'content-type': 'application/json', 'content-length': '1048577' };
    const response = await post('{}', headers);
    expect(response.status).toBe(413);
    expect(await response.json()).toMatchObject({ code: 'payload_too_large' });
  });

  test('that is absent counts as empty', async () => {
    const { call } = createHttpApp();
    expect((await call('POST', '/api/v1/conversations')).status).toBe(201);
    expect((await call('POST', '/api/v1/search')).status).toBe(422);
  });

  test('gets its defaults', async () => {
    const asked: unknown[] = [];
    const search = async (request: unknown) => {
      asked.push(request);
      return { results: [], took_ms: 0 };
    };
    const { call } = createHttpApp({ search: { search } });
    await call('POST', '/api/v1/search', json({ query: 'x' }));
    const metadata = { and: [{ a: { gte: 1 } }, { b: 'x' }] };
    await call('POST', '/api/v1/search', json({ query: 'x', mode: 'text', top_k: 3, filter: { metadata }, extra: 1 }));
    expect(asked).toEqual([
      { query: 'x', top_k: 10, mode: 'hybrid', filter: {} },
      { query: 'x', top_k: 3, mode: 'text', filter: { metadata } },
    ]);
  });
});

describe('a query', () => {
  test.each(['limit=0', 'limit=201', 'limit=1.5', 'limit=x', 'limit=', 'cursor=', 'status=hunter2', 'q='])(
    '%s does not fit',
    async (query) => {
      const response = await createHttpApp().call('GET', `/api/v1/documents?${query}`);
      const text = await response.text();
      expect(response.status).toBe(422);
      expect(text).not.toContain('hunter2');
      const { errors } = JSON.parse(text) as { errors: { path: string }[] };
      expect(errors[0]?.path).toBe(`/${query.split('=')[0]}`);
    },
  );

  test('is given to the service as numbers and words, with its defaults', async () => {
    const asked: unknown[] = [];
    const list = async (query: unknown) => {
      asked.push(query);
      return { items: [], next_cursor: null };
    };
    const { call } = createHttpApp({ documents: { list } });
    await call('GET', '/api/v1/documents');
    await call(
      'GET',
      '/api/v1/documents?limit=200&status=ready&source_type=web&q=%E6%95%B0%E6%8D%AE%20x&cursor=abc&other=1',
    );
    expect(asked).toEqual([
      { limit: 50 },
      { limit: 200, status: 'ready', source_type: 'web', q: '数据 x', cursor: 'abc' },
    ]);
  });

  test('that holds NUL is malformed', async () => {
    expect((await createHttpApp().call('GET', '/api/v1/documents?q=a%00b')).status).toBe(400);
  });
});
