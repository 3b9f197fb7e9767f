/** A document that cannot be read says why at once, where people look, and can be tried again or deleted. */
import { afterAll, expect, test } from 'bun:test';
import { createSandboxedExtractor } from '../../src/ingest/sandbox.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createRig } from '../support/rig.ts';

const extractor = createSandboxedExtractor({ logger: silentLogger });
const rig = await createRig({ extractor });
afterAll(async () => {
  await rig.close();
  await extractor.stop();
});

const FILES: readonly [filename: string, content: string | Uint8Array, code: string][] = [
  ['blank.txt', ' \n\n\t\n', 'empty'],
  ['broken.pdf', '%PDF-1.7\nthis is where it ends', 'corrupt'],
  ['blank.html', '<html><body><script>1</script></body></html>', 'empty'],
];

async function send(who: { tenantId: string; userId: string }, filename: string, content: string | Uint8Array) {
  const form = new FormData();
  form.append('file', new Blob([content as BlobPart]), filename);
  const response = new Response(form);
  const contentType = response.headers.get('content-type') ?? '';
  const { signal } = new AbortController();
  return rig.as(who, () => rig.uploads.accept({ body: response.body, contentType, signal }));
}

test('a failed document says why in words, is in the lists at once, and can be tried again and deleted', async () => {
  const who = await rig.newTenant();
  for (const [filename, content, code] of FILES) {
    const { receipt } = await send(who, filename, content);
    const list = async (status: string) =>
      (await rig.as(who, () => rig.documents.list({ status, limit: 50 }))).items.map(({ id }) => id);
    expect(await list('queued')).toEqual([receipt.document_id]);
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toMatchObject({ type: 'failed', code });
    expect(await list('queued')).toEqual([]);
    expect(await list('failed')).toEqual([receipt.document_id]);
    const document = await rig.as(who, () => rig.documents.get(receipt.document_id));
    expect([filename, document]).toMatchObject([filename, { status: 'failed', error: { code } }]);
    // A sentence for people: not a code, not a stack, no path of ours.
    expect(document.error?.message).toMatch(/^[A-Z].{10,300}\.$/);
    expect(document.error?.message).not.toMatch(/Error|undefined|\bat \/|\/tmp\//);
    expect(await rig.as(who, () => rig.tasks.get(receipt.task_id))).toMatchObject({
      status: 'failed',
      error: document.error,
    });
    const log = await rig.as(who, () => rig.tasks.log(receipt.task_id, { limit: 50 }));
    expect(log.items.at(-1)).toMatchObject({ level: 'error', message: document.error?.message ?? '' });
    expect(await rig.outstanding(who)).toBe(0);

    await rig.as(who, () => rig.tasks.retry(receipt.task_id));
    expect(await list('queued')).toEqual([receipt.document_id]);
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toMatchObject({ type: 'failed', code });
    const again = await send(who, filename, content);
    expect(again.receipt).toMatchObject({ document_id: receipt.document_id, duplicate: false });
    expect(await rig.deliver(who, 'ingest', again.receipt.task_id)).toMatchObject({ type: 'failed', code });

    await rig.as(who, () => rig.documents.remove(receipt.document_id));
    expect(await list('failed')).toEqual([]);
    expect(await rig.outstanding(who)).toBe(0);
  }
}, 60_000);
