/** `bun run eval` as somebody would call it: a set of four documents, an installation of its own, exit codes. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTestDatabase, startRedis, type TestDatabase } from '../support/services.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
let folder: TemporaryFolder;
let database: TestDatabase;
let redis: Awaited<ReturnType<typeof startRedis>>;
let set = '';
/** Documents of the same bytes: each can be found. */
const COPIES = 30;
beforeAll(async () => {
  [database, redis, folder] = await Promise.all([createTestDatabase(), startRedis(), temporaryFolder()]);
  set = join(folder.path, 'tiny');
  await mkdir(join(set, 'qrels'), { recursive: true });
  const corpus = [
    {
      _id: 'tide',
      title: 'Tides',
      text: 'High tide in the harbour is at 14:20. The ferry leaves thirty minutes later.',
    },
    { _id: 'leave', title: '', text: 'Employees are entitled to thirty days of leave.' },
    // The same text again: another document, whatever its bytes are.
    { _id: 'copy', title: '', text: 'Employees are entitled to thirty days of leave.' },
    ...Array.from({ length: COPIES }, (_, at) => ({ _id: `copy ${at}`, text: 'The cannery was closed in spring.' })),
    { _id: 'empty', title: '', text: '' },
    // A page's source, bytes that no text has, and an id as nobody would choose it.
    { _id: 'chunk 1/\u00e4#?', title: '', text: '<svg viewBox="0 0 1 1"><script>dockTheShip()</script>\0</svg>' },
  ];
  const queries = [
    { _id: 'q1', text: 'When does the ferry leave after high tide?' },
    { _id: 'leave', text: 'days of leave for an employee' },
    { _id: 'q3', text: 'svg viewBox' },
    { _id: 'q4', text: 'When was the cannery closed?' },
  ];
  const lines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  await Bun.write(join(set, 'corpus.jsonl'), lines(corpus));
  await Bun.write(join(set, 'queries.jsonl'), lines(queries));
  await Bun.write(
    join(set, 'qrels', 'test.tsv'),
    'query-id\tcorpus-id\tscore\nq1\ttide\t1\nleave\tcopy\t1\nq3\tchunk 1/\u00e4#?\t2\n' +
      Array.from({ length: COPIES }, (_, at) => `q4\tcopy ${at}\t1\n`).join(''),
  );
});
afterAll(async () => {
  await Promise.all([database.drop(), redis.stop()]);
  await folder.remove();
});

async function run(...args: string[]) {
  const child = Bun.spawn([process.execPath, 'run', '--silent', 'eval', ...args], {
    cwd: ROOT,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env['PATH']}`,
      HOME: process.env['HOME'],
      DATABASE_URL: database.url,
      DATABASE_OWNER_URL: database.adminUrl,
      REDIS_URL: redis.url,
    },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { out, err, code };
}

describe('bun run eval', () => {
  test('measures every mode through a whole installation, and fails below a baseline', async () => {
    const baseline = join(folder.path, 'baseline.json');
    const before = { set: 'tiny', mode: 'text', provider: 'builtin', queries: 4, ndcg10: 1, recall100: 1, hit1: 1 };
    await Bun.write(baseline, JSON.stringify([{ ...before, mrr10: 1.2 }]));
    const { code, out, err } = await run('--set', set, '--json', '--baseline', baseline);
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    // A question that is a document itself does not find itself: its copy is first.
    const perfect = { set: 'tiny', queries: 4, ndcg10: 1, recall100: 1, mrr10: 1, hit1: 1 };
    expect(lines).toEqual([
      { ...perfect, mode: 'bm25', provider: 'reference' },
      ...['text', 'vector', 'hybrid', 'rerank'].map((mode) => ({ ...perfect, mode, provider: 'builtin' })),
    ]);
    expect(err).toContain('1 documents without any text are left out');
    expect(err).toContain('nDCG@10 [95 %]');
    expect(err).toContain('REGRESSION tiny text (builtin): mrr10 1 was 1.2');
    expect(code).toBe(1);
  }, 180_000);

  test.each([
    [[], /--set DIR is needed/],
    [['--set', '/nowhere'], /\/nowhere is no folder/],
    [['--set', '.', '--mode', 'magic'], /--mode magic: one of/],
    [['--set', '.', '--speed'], /speed/],
    [['--set', '.', '--write-baseline'], /--write-baseline needs --baseline/],
    [['--set', '.', '--limit', 'x'], /--limit x: a number from 1 on/],
  ])(
    'says what is wrong with %j and exits with 2',
    async (args, message) => {
      const { code, err, out } = await run(...args);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toMatch(message);
    },
    30_000,
  );
});
