/** Files inside of documents become documents of their own, when and only when their parent is published. */
import { afterAll, describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createSandboxedExtractor } from '../../src/ingest/sandbox.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createRig, type Rig } from '../support/rig.ts';

type Who = { tenantId: string; userId: string };

const extractor = createSandboxedExtractor({ logger: silentLogger });
const rigs: Rig[] = [];
afterAll(async () => {
  for (const rig of rigs) await rig.close();
  await extractor.stop();
});

async function start(options: { queueMaxDepth?: number } = {}) {
  const rig = await createRig({ extractor, ...options });
  rigs.push(rig);
  return rig;
}

interface Attachment {
  name: string;
  type?: string;
  body: string | Uint8Array;
}

/** A mail with attachments, as a mail program writes it. */
function mail(text: string, attachments: Attachment[]): string {
  const parts = attachments.map(({ name, type = 'text/plain', body }) =>
    [
      `Content-Type: ${type}; name="${name}"`,
      `Content-Disposition: attachment; filename="${name}"`,
      'Content-Transfer-Encoding: base64',
      '',
      Buffer.from(body).toString('base64').replace(/.{76}/g, '$&\r\n'),
    ].join('\r\n'),
  );
  return [
    'From: Ada <ada@example.com>',
    'To: bob@example.com',
    'Subject: The report',
    'Message-ID: <1@example.com>',
    'MIME-Version: 1.0',
    'Content-Type: multipart/mixed; boundary="edge"',
    '',
    ...[`Content-Type: text/plain; charset=utf-8\r\n\r\n${text}`, ...parts].map((part) => `--edge\r\n${part}`),
    '--edge--',
    '',
  ].join('\r\n');
}

async function send(rig: Rig, who: Who, eml: string, fields: Record<string, string> = {}, filename = 'report.eml') {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append('file', new Blob([eml]), filename);
  const response = new Response(form);
  const contentType = response.headers.get('content-type') ?? '';
  const { signal } = new AbortController();
  const { receipt } = await rig.as(who, () => rig.uploads.accept({ body: response.body, contentType, signal }));
  return receipt;
}

async function childrenOf(rig: Rig, who: Who, parentId: string) {
  const { items } = await rig.as(who, () => rig.documents.list({ limit: 200 }));
  return items.filter(({ parent_id }) => parent_id === parentId).toSorted((a, b) => (a.filename < b.filename ? -1 : 1));
}

async function originalsOf(rig: Rig, { tenantId }: Who): Promise<string[]> {
  return readdir(join(rig.folder.path, 'blobs', 'originals', tenantId)).catch(() => []);
}

async function found(rig: Rig, who: Who, query: string) {
  const { results } = await rig.as(who, () => rig.search.search({ query, top_k: 50, mode: 'text', filter: {} }));
  return results.map(({ document_id }) => document_id);
}

describe('a mail', () => {
  test('brings its attachments along, each a document that is found and goes with it', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const inner = mail('An inner body about walruses.', [{ name: 'deep.txt', body: 'Deep words about otters.' }]);
    const eml = mail('The body speaks of penguins.', [
      { name: 'a.txt', body: 'Attached words about seals.' },
      { name: 'virus.exe', type: 'application/octet-stream', body: new Uint8Array([0x4d, 0x5a, 0x90, 0, 3, 0, 0, 0]) },
      { name: 'inner.eml', type: 'message/rfc822', body: inner },
    ]);
    const receipt = await send(rig, who, eml);
    expect(await childrenOf(rig, who, receipt.document_id)).toEqual([]);
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    const children = await childrenOf(rig, who, receipt.document_id);
    expect(children.map(({ filename, status, source_type }) => ({ filename, status, source_type }))).toEqual([
      { filename: 'a.txt', status: 'queued', source_type: 'attachment' },
      { filename: 'inner.eml', status: 'queued', source_type: 'attachment' },
    ]);
    expect(await rig.outstanding(who)).toBe(2);
    const log = await rig.as(who, () => rig.tasks.log(receipt.task_id, { limit: 50 }));
    expect(log.items.map(({ message }) => message).join('\n')).toContain('virus.exe');

    for (const { task_id } of children)
      expect(await rig.deliver(who, 'ingest', task_id ?? '')).toEqual({ type: 'done' });
    const [, innerMail] = children;
    const [deep] = await childrenOf(rig, who, innerMail?.id ?? '');
    expect(deep).toMatchObject({ filename: 'deep.txt' });
    expect(await rig.deliver(who, 'ingest', deep?.task_id ?? '')).toEqual({ type: 'done' });
    expect(await found(rig, who, 'otters')).toEqual([deep?.id ?? '']);
    expect(await found(rig, who, 'seals')).toEqual([children[0]?.id ?? '']);

    await rig.as(who, () => rig.documents.remove(receipt.document_id));
    expect((await rig.as(who, () => rig.documents.list({ limit: 50 }))).items).toEqual([]);
    expect(await originalsOf(rig, who)).toEqual([]);
    expect(await rig.outstanding(who)).toBe(0);
  });

  test('that comes again changed keeps what is the same, and drops what is gone', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const same = { name: 'same.txt', body: 'The same words.' };
    const first = mail('One.', [same, { name: 'old.txt', body: 'Old words.' }, { name: 'x.txt', body: 'Before.' }]);
    const receipt = await send(rig, who, first, { source_item: 'mail 1' });
    await rig.deliver(who, 'ingest', receipt.task_id);
    const before = await childrenOf(rig, who, receipt.document_id);
    for (const { task_id } of before) await rig.deliver(who, 'ingest', task_id ?? '');

    const next = mail('Two.', [same, { name: 'new.txt', body: 'New words.' }, { name: 'x.txt', body: 'After.' }]);
    const again = await send(rig, who, next, { source_item: 'mail 1' });
    expect(again.document_id).toBe(receipt.document_id);
    expect(await rig.deliver(who, 'ingest', again.task_id)).toEqual({ type: 'done' });
    const after = await childrenOf(rig, who, receipt.document_id);
    expect(after.map(({ filename, status }) => [filename, status])).toEqual([
      ['new.txt', 'queued'],
      ['same.txt', 'ready'],
      ['x.txt', 'queued'],
    ]);
    expect(after[1]?.id).toBe(before.find(({ filename }) => filename === 'same.txt')?.id ?? '');
    expect(await originalsOf(rig, who)).toHaveLength(4);
    expect(await rig.outstanding(who)).toBe(2);
  });

  test('is published even where its attachments overfill the queue, and they are counted', async () => {
    const rig = await start({ queueMaxDepth: 1 });
    const who = await rig.newTenant();
    const attachments = Array.from({ length: 4 }, (_, i) => ({ name: `${i}.txt`, body: `Number ${i}.` }));
    const receipt = await send(rig, who, mail('Many.', attachments), { visibility: 'private' });
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    const children = await childrenOf(rig, who, receipt.document_id);
    expect(children.map(({ visibility }) => visibility)).toEqual(Array(4).fill('private'));
    expect(await rig.outstanding(who)).toBe(4);
    await expect(rig.upload(who, 'no room')).rejects.toMatchObject({ kind: 'queue_full' });
    const bob = await rig.addUser(who.tenantId);
    expect(await childrenOf(rig, bob, receipt.document_id)).toEqual([]);
    await rig.as(who, () => rig.documents.remove(receipt.document_id));
    expect(await rig.outstanding(who)).toBe(0);
  });
});

describe('a mailbox', () => {
  const box = (mails: readonly string[]) =>
    mails.map((one, at) => `From ada@example.com Mon Mar  ${(at % 9) + 1} 09:30:00 2026\r\n${one}\r\n`).join('');
  const short = (subject: string, body: string) =>
    `From: Ada <ada@example.com>\r\nTo: bob@example.com\r\nSubject: ${subject}\r\nDate: Mon, 2 Mar 2026 09:30:00 +0000\r\n\r\n${body}\r\n`;

  test('brings each of its mails along as a document, with its attachments, and lists them', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const eml = box([
      short('Penguins', 'A first body about penguins.\r\n>From the south they come.'),
      mail('A second body about walruses.', [{ name: 'deep.txt', body: 'Deep words about otters.' }]),
      short('=?utf-8?B?5rW36LGa?=', 'A third body about dolphins.'),
    ]);
    const receipt = await send(rig, who, eml, {}, 'archive.mbox');
    expect(await rig.deliver(who, 'ingest', receipt.task_id)).toEqual({ type: 'done' });
    const children = await childrenOf(rig, who, receipt.document_id);
    expect(children.map(({ filename }) => filename)).toEqual([
      '0001 Penguins.eml',
      '0002 The report.eml',
      '0003 海豚.eml',
    ]);
    expect(await rig.outstanding(who)).toBe(3);
    for (const { task_id } of children) await rig.deliver(who, 'ingest', task_id ?? '');
    const [deep] = await childrenOf(rig, who, children[1]?.id ?? '');
    expect(deep).toMatchObject({ filename: 'deep.txt' });
    expect(await found(rig, who, 'dolphins')).toEqual([children[2]?.id ?? '']);
    const text = await rig.as(who, async () => new Response(await rig.documents.text(receipt.document_id)).text());
    expect(text).toContain('A mailbox with 3 mails.');
    expect(text).toContain('- 海豚 · Ada <ada@example.com>');
    // They go with it.
    await rig.as(who, () => rig.documents.remove(receipt.document_id));
    expect(await found(rig, who, 'dolphins')).toEqual([]);
    expect(await originalsOf(rig, who)).toEqual([]);
  }, 60_000);

  test('of one mail is that mail, and of very many takes two hundred in and says so', async () => {
    const rig = await start();
    const who = await rig.newTenant();
    const one = await send(rig, who, box([short('Alone', 'A body about seals.')]), {}, 'one.mbox');
    expect(await rig.deliver(who, 'ingest', one.task_id)).toEqual({ type: 'done' });
    expect(await childrenOf(rig, who, one.document_id)).toEqual([]);
    expect(await found(rig, who, 'seals')).toEqual([one.document_id]);
    const mails = Array.from({ length: 203 }, (_, at) => short(`Number ${at}`, `The body of ${at}.`));
    const many = await send(rig, who, box(mails), {}, 'many.mbox');
    expect(await rig.deliver(who, 'ingest', many.task_id)).toEqual({ type: 'done' });
    expect(await rig.outstanding(who)).toBe(200);
    const text = await rig.as(who, async () => new Response(await rig.documents.text(many.document_id)).text());
    expect(text).toContain('A mailbox with 203 mails.');
    expect(text).toContain('3 were not taken in');
  }, 60_000);
});
