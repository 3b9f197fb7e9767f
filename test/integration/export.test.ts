/** The export of a user and of a tenant, unpacked by a program of others: everything that is theirs, nothing that is not. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Principal, Session } from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createExports, toEntryName } from '../../src/services/exports.ts';
import { createPeople, kindOf, type People } from '../support/people.ts';
import { linesOf } from '../support/rig.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

let people: People;
let exports: ReturnType<typeof createExports>;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  people = await createPeople();
  folder = await temporaryFolder();
  const { database, blobs } = people.rig;
  exports = createExports({ database, blobs, clock: systemClock, logger: silentLogger });
});
afterAll(async () => {
  await folder.remove();
  await people.close();
});

const scopeOf = ({ user, tenant }: Session) => ({ tenantId: tenant.id, userId: user.id });
const start = (by: Session, scope: 'user' | 'tenant', signal = new AbortController().signal) =>
  people.as(by, (principal: Principal) => exports.start({ scope }, principal, signal));

/** Path → text, as `unzip` gives it; it also checks each file's sum. */
async function unpack(stream: ReadableStream<Uint8Array>): Promise<Map<string, string>> {
  const target = join(folder.path, crypto.randomUUID());
  await Bun.write(`${target}.zip`, await new Response(stream).arrayBuffer());
  const script =
    'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; z.extractall(sys.argv[2])';
  const child = Bun.spawn(['python3', '-c', script, `${target}.zip`, target], { stderr: 'pipe' });
  if ((await child.exited) !== 0) throw new Error(await new Response(child.stderr).text());
  const files = await readdir(target, { recursive: true, withFileTypes: true });
  const found = new Map<string, string>();
  for (const file of files) {
    if (!file.isFile()) continue;
    const path = join(file.parentPath, file.name);
    found.set(path.slice(target.length + 1), await Bun.file(path).text());
  }
  return found;
}

async function uploadOf(who: Session, text: string, fields: Record<string, string> = {}): Promise<string> {
  const { rig } = people;
  const { receipt } = await rig.upload(scopeOf(who), text, fields);
  await rig.deliver(scopeOf(who), 'ingest', receipt.task_id);
  return receipt.document_id;
}

test('a user takes along what is the user’s, as it was and as it is known here', async () => {
  const owner = await people.found();
  const member = await people.join(owner, 'member');
  const text = linesOf(5, 'mine');
  const mine = await uploadOf(member, text, { title: 'Mine', visibility: 'private', metadata: '{"a": 1}' });
  const shared = await uploadOf(member, linesOf(3, 'of all'));
  const foreign = await uploadOf(owner, linesOf(3, 'of the owner'), { visibility: 'private' });
  const of = await uploadOf(owner, linesOf(3, 'the owner shares'));
  const turn = await people.rig.as(scopeOf(member), () => people.rig.chat.send({ content: 'What is mine?' }));
  await people.rig.deliver(scopeOf(member), 'chat', turn.turn_id);
  const { key } = await people.key(member);
  const files = await unpack(await start(member, 'user'));
  expect(files.get(`documents/${mine}/notes.txt`)).toBe(text);
  expect(files.get(`documents/${mine}/extracted-text.txt`)).toBe(text);
  expect(JSON.parse(files.get(`documents/${mine}/document.json`) ?? '')).toMatchObject({
    title: 'Mine',
    metadata: { a: 1 },
    visibility: 'private',
  });
  expect([...files.keys()].filter((path) => path.endsWith('document.json')).toSorted()).toEqual(
    [mine, shared].toSorted().map((id) => `documents/${id}/document.json`),
  );
  const conversation = JSON.parse(files.get(`conversations/${turn.conversation_id}.json`) ?? '');
  expect(conversation.messages).toMatchObject([{ role: 'user', content: 'What is mine?' }, { role: 'assistant' }]);
  expect(conversation.messages[1].sources[0]).toMatchObject({ document_id: mine });
  expect(JSON.parse(files.get('account.json') ?? '')).toMatchObject({ email: member.user.email, role: 'member' });
  expect(files.get('README.md')).toContain('Your data');
  expect(files.has('members.json')).toBe(false);
  const keys = JSON.parse(files.get('data/api_keys.json') ?? '');
  expect(keys).toMatchObject([{ name: 'a key', user_id: member.user.id }]);
  const everything = [...files].flat().join('\n');
  for (const secret of [key, foreign, of, owner.user.email, 'of the owner', 'password_hash', 'key_hash']) {
    expect([secret, everything.includes(secret)]).toEqual([secret, false]);
  }
});

test('an owner takes the tenant’s along, without what others keep private; nobody else does', async () => {
  const [owner, stranger] = [await people.found(), await people.found()];
  const member = await people.join(owner, 'admin');
  const shared = await uploadOf(member, linesOf(3, 'of all'));
  const own = await uploadOf(owner, linesOf(3, 'the owner’s'), { visibility: 'private' });
  const hidden = await uploadOf(member, linesOf(3, 'hidden'), { visibility: 'private', title: 'hidden' });
  await uploadOf(stranger, linesOf(3, 'strange'), { title: 'strange' });
  const turn = await people.rig.as(scopeOf(member), () => people.rig.chat.send({ content: 'a secret question' }));
  expect(await kindOf(start(member, 'tenant'))).toBe('forbidden');
  const files = await unpack(await start(owner, 'tenant'));
  const documents = [...files.keys()].filter((path) => path.endsWith('document.json')).toSorted();
  expect(documents).toEqual([shared, own].toSorted().map((id) => `documents/${id}/document.json`));
  const members = JSON.parse(files.get('members.json') ?? '');
  expect(members.map(({ email }: { email: string }) => email)).toEqual([owner.user.email, member.user.email]);
  const everything = [...files].flat().join('\n');
  for (const secret of [hidden, 'hidden', 'strange', stranger.tenant.id, turn.conversation_id, 'a secret question']) {
    expect([secret, everything.includes(secret)]).toEqual([secret, false]);
  }
});

test('an export without anything is one, too', async () => {
  const files = await unpack(await start(await people.found(), 'user'));
  expect([...files.keys()]).toContain('account.json');
  expect([...files.keys()].filter((path) => path.startsWith('documents'))).toEqual([]);
});

describe('names', () => {
  test.each([
    ['../../etc/passwd', 'passwd'],
    ['C:\\Windows\\evil.exe', 'evil.exe'],
    ['..', 'file'],
    ['a<b>:"c|d?*.txt', 'a_b___c_d__.txt'],
    ['CON.txt', '_CON.txt'],
    ['nul', '_nul'],
    ['ends with a dot.', 'ends with a dot_'],
    ['document.json', '_document.json'],
    ['Extracted-Text.txt', '_Extracted-Text.txt'],
    ['数据 1.pdf', '数据 1.pdf'],
  ])('%j is unpacked as %j', (filename, name) => {
    expect(toEntryName(filename)).toBe(name);
  });

  test('that clash with ours, or climb, do neither in the ZIP', async () => {
    const owner = await people.found();
    const id = await uploadOf(owner, linesOf(2, 'names'));
    await people.rig.as(scopeOf(owner), () =>
      people.rig.database.tenant((sql) => sql`update documents set filename = '../../document.json' where id = ${id}`),
    );
    const files = await unpack(await start(owner, 'user'));
    expect([...files.keys()].filter((path) => path.startsWith('documents')).toSorted()).toEqual([
      `documents/${id}/_document.json`,
      `documents/${id}/document.json`,
      `documents/${id}/extracted-text.txt`,
    ]);
  });
});

describe('a reader', () => {
  test('has one export at a time, and the next after the first has ended or was left', async () => {
    const owner = await people.found();
    await uploadOf(owner, linesOf(20, 'slow'));
    const first = await start(owner, 'user');
    expect(await kindOf(start(owner, 'user'))).toBe('rate_limited');
    await first.cancel();
    const gone = new AbortController();
    const second = await start(owner, 'user', gone.signal);
    await second.getReader().read();
    gone.abort();
    await unpack(await start(owner, 'user'));
    await unpack(await start(owner, 'user'));
  });

  test('hears of a store that broke, instead of getting a ZIP that is not whole', async () => {
    const owner = await people.found();
    await uploadOf(owner, linesOf(2, 'broken'));
    const { database } = people.rig;
    const broken = createExports({
      database,
      clock: systemClock,
      logger: silentLogger,
      blobs: {
        read: async () => {
          throw new Error('the disk is gone');
        },
      },
    });
    const stream = await people.as(owner, (principal) =>
      broken.start({ scope: 'user' }, principal, new AbortController().signal),
    );
    await expect(new Response(stream).arrayBuffer()).rejects.toThrow('the disk is gone');
  });

  test('misses what went while it read, and nothing else', async () => {
    const owner = await people.found();
    const [going, staying] = [await uploadOf(owner, linesOf(2, 'going')), await uploadOf(owner, linesOf(2, 'staying'))];
    const { rig } = people;
    const { database } = rig;
    const racing = createExports({
      database,
      clock: systemClock,
      logger: silentLogger,
      blobs: {
        async read(key) {
          if (key.includes(going))
            await rig.as(scopeOf(owner), () => rig.documents.remove(going).catch(() => undefined));
          return rig.blobs.read(key);
        },
      },
    });
    const stream = await people.as(owner, (principal) =>
      racing.start({ scope: 'user' }, principal, new AbortController().signal),
    );
    const files = await unpack(stream);
    expect(files.has(`documents/${staying}/notes.txt`)).toBe(true);
    expect(files.has(`documents/${going}/notes.txt`)).toBe(false);
  });

  test('of 96 MB has no more than some blocks of it in memory', async () => {
    const owner = await people.found();
    const id = await uploadOf(owner, linesOf(2, 'large'));
    const block = new Uint8Array(1 << 20).fill(97);
    let out = 0;
    let most = 0;
    const { database } = people.rig;
    const large = createExports({
      database,
      clock: systemClock,
      logger: silentLogger,
      blobs: {
        async read(key) {
          let left = key.endsWith(id) ? 96 : 0;
          return new ReadableStream<Uint8Array>(
            {
              pull(controller) {
                if (left-- <= 0) return controller.close();
                out += block.length;
                controller.enqueue(block);
              },
            },
            { highWaterMark: 0 },
          );
        },
      },
    });
    const stream = await people.as(owner, (principal) =>
      large.start({ scope: 'user' }, principal, new AbortController().signal),
    );
    let read = 0;
    for await (const piece of stream) {
      read += piece.length;
      most = Math.max(most, out - read);
    }
    expect(read).toBeGreaterThan(96 << 20);
    // What was taken from the store and not yet given to the reader.
    expect(most).toBeLessThan(4 << 20);
  });
});
