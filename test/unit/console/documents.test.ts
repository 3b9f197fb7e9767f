import { expect, test } from 'bun:test';
import { createDocumentsModel } from '../../../src/console/model/documents.ts';
import { createHarness, event, problem, settle } from '../client/harness.ts';
import { documentIn } from './fixtures.ts';

const progress = (value: number, stage: string | null) => ({
  task_id: 'k1',
  document_id: 'd1',
  status: 'running',
  stage,
  progress: value,
  chunks_done: 1,
  chunks_total: 4,
  attempt: 1,
});

async function setUp(items: object[] = []) {
  const harness = await createHarness();
  let listed = items;
  harness.answer('GET /documents', () => Response.json({ items: listed, next_cursor: null }));
  harness.answer('POST /upload', () =>
    Response.json({ document_id: 'd1', task_id: 'k1', status: 'queued', duplicate: false }, { status: 202 }),
  );
  const realtime = harness.client.connect();
  const model = createDocumentsModel({ client: harness.client, realtime });
  await settle();
  harness.peer().hello();
  harness.peer().ackAll();
  await settle();
  const row = () => model.store.get().rows[0];
  return {
    ...harness,
    model,
    row,
    list: (next: object[]) => {
      listed = next;
    },
  };
}

const file = () => new File(['hello'], 'notes.md');

test('the bar of a file moves from sending through the pushed stages to ready, in one row', async () => {
  const { model, peer, row, list } = await setUp();
  model.upload([file()]);
  expect(row()).toMatchObject({ phase: 'sending', progress: 0, title: 'notes.md' });
  await settle();
  const { key } = row() ?? {};
  expect(row()).toMatchObject({ phase: 'queued', documentId: 'd1' });
  peer().ackAll();
  peer().send(event('task:k1', 1, 'task.progress', progress(0.5, 'embedding')));
  expect(row()).toMatchObject({
    phase: 'working',
    stage: 'embedding',
    progress: expect.closeTo(0.6),
    chunksDone: 1,
    chunksTotal: 4,
  });
  list([documentIn('ready')]);
  peer().send(event('task:k1', 2, 'task.succeeded', progress(1, null)));
  await settle();
  expect(model.store.get().rows).toMatchObject([{ key, phase: 'ready', progress: 1, title: 'Notes' }]);
  model.dispose();
});

test('a document that was on its way before the page was opened is followed too', async () => {
  const { model, peer, row } = await setUp([documentIn('processing')]);
  expect(
    peer()
      .of('subscribe')
      .map((frame) => frame.topic),
  ).toContain('task:k1');
  peer().ackAll();
  peer().send(
    event('task:k1', 1, 'task.failed', { ...progress(0.1, null), error: { code: 'encrypted', message: 'x' } }),
  );
  expect(row()).toMatchObject({ phase: 'failed', error: { code: 'encrypted' }, retryable: false });
  model.dispose();
});

test('a file that the server refuses stays with the reason until it is taken away', async () => {
  const { model, answer, row } = await setUp();
  answer('POST /upload', () => problem(415, 'unsupported_media_type'));
  model.upload([file()]);
  await settle();
  expect(row()).toMatchObject({ phase: 'refused', error: { code: 'unsupported_media_type' } });
  model.dismiss(row()?.key ?? '');
  expect(model.store.get().rows).toEqual([]);
  model.dispose();
});

test('the same bytes again show the document that is there', async () => {
  const { model, answer } = await setUp([documentIn('ready')]);
  answer('POST /upload', () =>
    Response.json({ document_id: 'd1', task_id: 'k1', status: 'succeeded', duplicate: true }),
  );
  model.upload([file()]);
  await settle();
  await settle();
  expect(model.store.get().rows).toMatchObject([{ documentId: 'd1', phase: 'ready', duplicate: true }]);
  model.dispose();
});

test('a document that is ready before its upload is answered stays so', async () => {
  const { model, peer, row, list } = await setUp();
  model.upload([file()]);
  list([documentIn('ready')]);
  peer().send(event('user', 1, 'document.ready', { document_id: 'd1', task_id: 'k1', title: 'Notes' }));
  await settle();
  await settle();
  expect(model.store.get().rows).toMatchObject([{ documentId: 'd1', phase: 'ready', progress: 1 }]);
  peer().ackAll();
  peer().send(event('task:k1', 1, 'task.progress', progress(0.5, 'embedding')));
  expect(row()).toMatchObject({ phase: 'ready', progress: 1 });
  model.dispose();
});
