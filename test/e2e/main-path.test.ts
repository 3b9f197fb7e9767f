/** The main job as a black box, in every form in which DreamHub runs: upload, progress by push, search, chat, resume. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Dreamhub, type Form, startDreamhub } from '../support/dreamhub.ts';
import { eventsOf, openSocket, type Person, register, type Socket } from '../support/person.ts';
import { findPgbouncer } from '../support/pgbouncer.ts';

const DEMO = join(import.meta.dir, '../../deploy/demo');
const GOLDEN = join(import.meta.dir, 'golden');
const REAL = join(import.meta.dir, '../../../shared/data/formats');

interface Source {
  document_id: string;
  quote: string;
  start: number;
  end: number;
  verified: boolean;
}

const QUESTIONS = [
  {
    name: 'english',
    file: 'handbook-en.md',
    question: 'How many days of paid holiday does an employee have?',
    fact: '27 days',
  },
  { name: 'chinese', file: 'handbook-zh.md', question: '每位员工每年有多少天带薪年假？', fact: '27天' },
];

const FORMS: readonly Form[] = ['embedded', 'all', 'split', 'cluster', 'pgbouncer'];
const hasPgbouncer = findPgbouncer() !== undefined;
if (!hasPgbouncer)
  process.stderr.write('There is no pgbouncer: the form behind it is NOT tested. Install pgbouncer.\n');

for (const form of FORMS) {
  const skipped = form === 'pgbouncer' && !hasPgbouncer;
  describe.skipIf(skipped)(`DreamHub (${form})`, () => {
    let hub: Dreamhub;
    let person: Person;
    let socket: Socket;
    const learnt: Record<string, Awaited<ReturnType<Person['learn']>>> = {};
    const documentOf = (file: string) => {
      const document = learnt[file];
      if (!document) throw new Error(`${file} was not uploaded`);
      return document;
    };

    beforeAll(async () => {
      hub = await startDreamhub(form);
      person = await register(hub.url);
      socket = await person.socket();
      for (const { file } of QUESTIONS) {
        learnt[file] = await person.learn(socket, await Bun.file(join(DEMO, file)).bytes(), file, {
          metadata: '{"lang":"x"}',
        });
      }
    }, 120_000);
    afterAll(async () => {
      socket?.close();
      await hub?.stop();
    }, 60_000);

    for (const { name, file, question, fact } of QUESTIONS) {
      test(`reads a document and answers about it (${name})`, async () => {
        const learnt = documentOf(file);
        expect(learnt.end.type).toBe('task.succeeded');
        const events = eventsOf(socket, `task:${learnt.task_id}`);
        expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1));
        const progress = events.map(({ data }) => Number(data?.['progress']));
        expect(progress).toEqual(progress.toSorted((a, b) => a - b));
        const task = await person.call<{ status: string }>('GET', `/tasks/${learnt.task_id}/status`);
        expect(task.body.status).toBe('succeeded');

        const again = await person.upload(await Bun.file(join(DEMO, file)).bytes(), 'another name.md');
        expect(again.status).toBe(200);
        expect(again.body).toMatchObject({ document_id: learnt.document_id, task_id: learnt.task_id, duplicate: true });

        const found = await person.call<{
          results: { text: string; start: number; end: number; document_id: string }[];
        }>('POST', '/search', { query: question, top_k: 3 });
        const text = await person.call<string>('GET', `/documents/${learnt.document_id}/text`);
        const [best] = found.body.results;
        expect(best?.text).toContain(fact);
        expect(text.body.slice(best?.start, best?.end)).toBe(best?.text ?? '');

        socket.send({ type: 'chat.send', id: `ask-${name}`, content: question, client_message_id: `m-${name}` });
        const ack = await socket.until(({ id }) => id === `ask-${name}`);
        expect(ack.type).toBe('ack');
        const topic = `turn:${ack['turn_id']}`;
        const done = await socket.until((frame) => frame.topic === topic && frame.type === 'turn.completed');
        const told = eventsOf(socket, topic);
        expect(told.map(({ seq }) => seq)).toEqual(told.map((_, index) => index + 1));
        const deltas = told.filter(({ type }) => type === 'turn.delta');
        expect(deltas.length).toBeGreaterThan(1);
        const answer = String(done.data?.['text']);
        expect(deltas.map(({ data }) => data?.['text']).join('')).toBe(answer);
        expect(answer).toContain(fact);
        for (const source of (done.data?.['sources'] ?? []) as Source[]) {
          expect(source.verified).toBe(true);
          expect(source.document_id).toBe(learnt.document_id);
          expect(text.body.slice(source.start, source.end)).toBe(source.quote);
        }
        // The built-in provider is deterministic: the answer is the same in every form.
        const golden = Bun.file(join(GOLDEN, `${name}.txt`));
        expect(answer).toBe((await golden.text()).trimEnd());
      }, 60_000);
    }

    test('continues a turn on another socket and protocol, without a gap or a repeat', async () => {
      socket.send({ type: 'chat.send', id: 'r', content: 'When do the cafés open?', client_message_id: 'resume' });
      const ack = await socket.until(({ id }) => id === 'r');
      const topic = `turn:${ack['turn_id']}`;
      await socket.until((frame) => frame.topic === topic && frame.type === 'turn.completed');
      const all = eventsOf(socket, topic);
      const other = await person.socket({ protocol: 'dreamhub.v1.msgpack' });
      expect(other.protocol).toBe('dreamhub.v1.msgpack');
      other.send({ type: 'subscribe', topic, after: 2, epoch: all[0]?.epoch });
      await other.until((frame) => frame.topic === topic && frame.type === 'turn.completed');
      expect(eventsOf(other, topic)).toEqual(all.slice(2));
      other.close();
    });

    test('tells the same events over SSE, and waits where asked to', async () => {
      const conversation = await person.call<{ id: string }>('POST', '/conversations', { title: 'By HTTP' });
      expect(conversation.status).toBe(201);
      const path = `/conversations/${conversation.body.id}/messages`;
      const waited = await person.call<{ status: string; text: string }>('POST', `${path}?wait=true`, {
        content: 'How is filter coffee brewed?',
      });
      expect(waited.status).toBe(200);
      expect(waited.body).toMatchObject({ status: 'completed' });
      expect(waited.body.text).toContain('60 grams');

      const stream = await person.call<string>(
        'POST',
        path,
        { content: 'And espresso?' },
        { accept: 'text/event-stream' },
      );
      expect(stream.headers.get('content-type')).toContain('text/event-stream');
      const events = stream.body.split('\n\n').filter((block) => block.includes('data: '));
      const frames = events.map((block) => JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? '{}'));
      expect(frames.at(-1)?.type).toBe('turn.completed');
      expect(frames.map(({ seq }) => seq)).toEqual(frames.map((_, index) => index + 1));
      expect(/^id: (.+):(\d+)$/m.exec(events[0] ?? '')?.[2]).toBe('1');

      const receipt = await person.call<{ turn_id: string }>('POST', path, { content: 'And the roaster?' });
      expect(receipt.status).toBe(202);
      const turn = await person.call<{ id: string }>('GET', `/turns/${receipt.body.turn_id}`);
      expect(turn.body.id).toBe(receipt.body.turn_id);
      const messages = await person.call<{ items: { role: string }[] }>('GET', path);
      expect(messages.body.items.slice(0, 4).map(({ role }) => role)).toEqual([
        'user',
        'assistant',
        'user',
        'assistant',
      ]);
    }, 60_000);

    test('answers a whole question in one call', async () => {
      const chat = await person.call<{ reply: string; conversation_id: string; turn_id: string; sources: Source[] }>(
        'POST',
        '/chat',
        { message: 'Who checks the fire extinguishers?' },
      );
      expect(chat.status).toBe(200);
      expect(chat.body.reply).toContain('landlord');
      expect(chat.body.sources.length).toBeGreaterThan(0);
    }, 60_000);

    test('lets a browser in with a ticket, once', async () => {
      const issued = await person.call<{ ticket: string }>('POST', '/ws/tickets');
      expect(issued.status).toBe(201);
      const first = await openSocket(hub.url, { ticket: issued.body.ticket });
      first.send({ type: 'ping', id: 7 });
      expect((await first.until(({ type }) => type === 'pong')).id).toBe(7);
      await expect(openSocket(hub.url, { ticket: issued.body.ticket })).rejects.toThrow();
      first.close();
    });

    test('refuses what it cannot read, and says why', async () => {
      const archive = await person.upload(new Uint8Array([0x50, 0x4b, 3, 4, ...new Uint8Array(60)]), 'things.zip');
      expect(archive.status).toBe(415);
      expect(archive.body.code).toBe('unsupported_media_type');
      const renamed = await person.upload(
        new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, ...new Uint8Array(100)]),
        'letter.txt',
      );
      expect(renamed.status).toBe(415);
      const broken = await person.learn(socket, '%PDF-1.7\nthis is not a PDF', 'broken.pdf');
      expect(broken.end.type).toBe('task.failed');
      expect(broken.end.data?.['error']).toMatchObject({ code: 'corrupt' });
      const document = await person.call<{ status: string; error: { code: string } }>(
        'GET',
        `/documents/${broken.document_id}`,
      );
      expect(document.body).toMatchObject({ status: 'failed', error: { code: 'corrupt' } });
    }, 60_000);

    test('finds nothing of a document from the moment it is deleted', async () => {
      const person = await register(hub.url);
      const socket = await person.socket();
      const learnt = await person.learn(socket, 'The password of the lighthouse is seagull.', 'secret.txt');
      const query = { query: 'password of the lighthouse', top_k: 5 };
      const before = await person.call<{ results: { document_id: string }[] }>('POST', '/search', query);
      expect(before.body.results[0]?.document_id).toBe(learnt.document_id);
      expect((await person.call('DELETE', `/documents/${learnt.document_id}`)).status).toBe(204);
      const after = await person.call<{ results: { document_id: string }[] }>('POST', '/search', query);
      expect(after.body.results.map(({ document_id }) => document_id)).not.toContain(learnt.document_id);
      for (const path of ['', '/content', '/text', '/chunks']) {
        expect((await person.call('GET', `/documents/${learnt.document_id}${path}`)).status).toBe(404);
      }
      expect((await person.call('GET', `/tasks/${learnt.task_id}`)).status).toBe(404);
      socket.close();
    }, 60_000);

    test.skipIf(!existsSync(REAL))(
      'reads real files: PDF with page numbers, DOCX, HTML',
      async () => {
        // In a tenant of its own: how much a word says depends on all of a tenant's documents, and answers with it.
        const person = await register(hub.url);
        const socket = await person.socket();
        for (const [file, query, words] of [
          ['test.pdf', 'AutoGen multi-agent conversation', 'agent'],
          ['test.docx', 'AutoGen conversation', 'AutoGen'],
          ['test_wikipedia.html', 'Who founded Microsoft?', 'Microsoft'],
        ] as const) {
          const learnt = await person.learn(socket, Bun.file(join(REAL, file)), file);
          expect([file, learnt.end.type]).toEqual([file, 'task.succeeded']);
          const found = await person.call<{ results: { text: string; page: number | null }[] }>('POST', '/search', {
            query,
            top_k: 3,
            filter: { document_ids: [learnt.document_id] },
          });
          expect(found.body.results[0]?.text).toContain(words);
          if (file.endsWith('.pdf')) expect(found.body.results[0]?.page).toBeGreaterThan(0);
          const content = await fetch(`${hub.url}/api/v1/documents/${learnt.document_id}/content`, {
            headers: { authorization: `Bearer ${person.token}` },
          });
          expect(new Bun.CryptoHasher('sha256').update(await content.arrayBuffer()).digest('hex')).toBe(
            new Bun.CryptoHasher('sha256').update(await Bun.file(join(REAL, file)).arrayBuffer()).digest('hex'),
          );
        }
        socket.close();
      },
      120_000,
    );
  });

  test.skipIf(skipped)(
    `DreamHub (${form}) ends cleanly on SIGTERM, telling its sockets to come back`,
    async () => {
      const hub = await startDreamhub(form);
      try {
        const person = await register(hub.url);
        const goodbye = await person.socket();
        hub.server.signal('SIGTERM');
        expect((await goodbye.closed).code).toBe(1001);
        expect(await hub.server.exited).toBe(0);
        expect(hub.server.output()).toContain('"stopped"');
      } finally {
        await hub.stop();
      }
    },
    120_000,
  );
}
