/** A document has one task at work, whichever of its tasks somebody asks for again. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { createRig, linesOf, type Rig } from '../support/rig.ts';

let rig: Rig;
beforeAll(async () => {
  rig = await createRig();
});
afterAll(() => rig.close());

/** A document whose task was cancelled before it ran. */
async function cancelled(seed: string) {
  const who = await rig.newTenant();
  const { receipt } = await rig.upload(who, linesOf(3, seed));
  await rig.as(who, () => rig.tasks.cancel(receipt.task_id));
  return { who, seed, documentId: receipt.document_id, taskId: receipt.task_id };
}

test('a task whose document was uploaded again is not tried again', async () => {
  const { who, seed, documentId, taskId } = await cancelled('succession');
  const next = await rig.upload(who, linesOf(3, seed));
  expect(next).toMatchObject({ created: true, receipt: { document_id: documentId } });
  await expect(rig.as(who, () => rig.tasks.retry(taskId))).rejects.toMatchObject({ kind: 'conflict' });
  expect(await rig.as(who, () => rig.tasks.get(taskId))).toMatchObject({ status: 'cancelled' });
  expect(await rig.deliver(who, 'ingest', next.receipt.task_id)).toEqual({ type: 'done' });
  // Not while the newer one works, and not after it has made the document ready.
  await expect(rig.as(who, () => rig.tasks.retry(taskId))).rejects.toMatchObject({ kind: 'conflict' });
  expect(await rig.as(who, () => rig.documents.get(documentId))).toMatchObject({ status: 'ready', chunks: 3 });
  expect(await rig.outstanding(who)).toBe(0);
});

test('a retry and uploads of the same bytes at once set one task to work', async () => {
  for (let round = 0; round < 25; round++) {
    const { who, seed, taskId } = await cancelled(`at once ${round}`);
    await Promise.allSettled([
      rig.upload(who, linesOf(3, seed)),
      rig.as(who, () => rig.tasks.retry(taskId)),
      rig.upload(who, linesOf(3, seed)),
    ]);
    const { items } = await rig.as(who, () => rig.tasks.list({ limit: 10 }));
    expect(items.filter(({ status }) => status === 'queued')).toHaveLength(1);
    expect(await rig.outstanding(who)).toBe(1);
  }
});
