import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { systemClock } from '../../../src/kernel/clock.ts';
import { type ClamdOptions, createClamd, parseClamdUrl } from '../../../src/storage/clamd.ts';
import { type FakeClamd, type FakeClamdOptions, startFakeClamd } from '../../support/clamd.ts';
import { failureOf } from '../../support/manual-clock.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts';

let folder: TemporaryFolder;
let path: string;
let fake: FakeClamd | undefined;
const content = Buffer.alloc(600_000, 'some bytes of a file ');

beforeAll(async () => {
  folder = await temporaryFolder();
  path = join(folder.path, 'file');
  await Bun.write(path, content);
});
afterAll(() => folder.remove());
afterEach(async () => {
  await fake?.stop();
  fake = undefined;
});

/** More than a connection holds, so that some of it is left when the answer comes. */
async function largePath(): Promise<string> {
  const large = join(folder.path, 'large');
  await Bun.write(large, Buffer.alloc(32_000_000));
  return large;
}

async function scanWith(behaviour: FakeClamdOptions, limits: Partial<ClamdOptions> = {}, signal?: AbortSignal) {
  fake = await startFakeClamd(behaviour);
  const clamd = createClamd({ address: { host: '127.0.0.1', port: fake.port }, clock: systemClock, ...limits });
  return clamd.scan(behaviour.early ? await largePath() : path, signal);
}

describe('an address of clamd', () => {
  test.each<[string, ReturnType<typeof parseClamdUrl>]>([
    ['tcp://clamav:3310', { host: 'clamav', port: 3310 }],
    ['tcp://clamav', { host: 'clamav', port: 3310 }],
    ['tcp://[::1]:99', { host: '::1', port: 99 }],
    ['unix:/run/clamd.sock', { path: '/run/clamd.sock' }],
    ['unix:///run/clamd.sock', { path: '/run/clamd.sock' }],
    ['http://clamav', undefined],
    ['unix:relative', undefined],
    ['clamav:3310', undefined],
    ['tcp://', undefined],
  ])('%p', (url, address) => expect(parseClamdUrl(url)).toEqual(address));
});

describe('a scan', () => {
  test('sends all bytes, and calls clean what the daemon calls so', async () => {
    expect(await scanWith({ answer: 'stream: OK\0' })).toEqual({ type: 'clean' });
    expect(fake?.scanned[0]?.equals(content)).toBe(true);
  });

  test.each<[string, string]>([
    ['stream: Eicar-Test FOUND\0', 'Eicar-Test'],
    [
      'stream: Win.Test.EICAR_HDB-1(44d88612fea8a8f36de82e1278abb02f:68) FOUND\0',
      'Win.Test.EICAR_HDB-1(44d88612fea8a8f36de82e1278abb02f:68)',
    ],
    ['stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0', 'Heuristics.Limits.Exceeded.MaxFileSize'],
  ])('tells what was found: %p', async (answer, signature) => {
    expect(await scanWith({ answer })).toEqual({ type: 'found', signature });
  });

  test('believes a finding, and a refusal of the size, before all was sent', async () => {
    expect(await scanWith({ answer: 'stream: Bad FOUND\0', early: true })).toEqual({ type: 'found', signature: 'Bad' });
    await fake?.stop();
    const refusal = await scanWith({ answer: 'INSTREAM size limit exceeded. ERROR\0', early: true });
    expect(refusal).toEqual({ type: 'too_large' });
  });

  test.each<[string, FakeClamdOptions]>([
    ['closes at once', { close: 'at once' }],
    ['calls it clean before it has all', { answer: 'stream: OK\0', early: true, close: 'after' }],
    ['says nothing that is known', { answer: 'Maybe\0' }],
    ['says that it failed', { answer: "stream: Can't allocate memory ERROR\0" }],
    ['says half of it and closes', { answer: 'stream: O', close: 'after' }],
    ['says something about another file', { answer: 'other: OK\0' }],
    ['talks without end', { answer: 'x'.repeat(10_000) }],
    ['says an empty line', { answer: '\0' }],
    ['says nothing', {}],
    ['takes nothing', { deaf: true }],
  ])('fails closed where the daemon %s', async (_, behaviour) => {
    const failure = await failureOf(scanWith(behaviour, { idleMs: 300, answerMs: 300 }));
    expect(failure).toMatchObject({ kind: 'unavailable', retryAfterMs: 10_000 });
  });

  test('fails closed where nobody listens', async () => {
    const nowhere = createClamd({ address: { path: join(folder.path, 'no.sock') }, clock: systemClock });
    expect(await failureOf(nowhere.scan(path))).toMatchObject({ kind: 'unavailable' });
    const away = createClamd({ address: { host: '127.0.0.1', port: 9 }, clock: systemClock });
    expect(await failureOf(away.scan(path))).toMatchObject({ kind: 'unavailable' });
  });

  test('ends with its caller', async () => {
    const controller = new AbortController();
    const scan = failureOf(scanWith({}, {}, controller.signal));
    controller.abort(new Error('gone'));
    expect(await scan).toBe(controller.signal.reason);
  });
});
