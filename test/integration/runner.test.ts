/** The runner of all tests, over little trees of tests of its own. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const RUNNER = fileURLToPath(new URL('../support/run.ts', import.meta.url));
const HEAD = "import { expect, test } from 'bun:test';\n";
const holds = (name: string) => `test('${name}', () => {});\n`;
const fails = (name: string) => `test('${name}', () => expect(1).toBe(2));\n`;
/** Fails where it has not been run before, and leaves a line a run. */
const failsOnce = (name: string) => `
import { appendFileSync, existsSync } from 'node:fs';
test('${name}', () => {
  const known = existsSync('runs.txt');
  appendFileSync('runs.txt', 'run\\n');
  expect(known).toBe(true);
});
`;

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

let trees = 0;

/** Runs a tree of test files, `path: content`, and says what came of it. */
async function run(files: Record<string, string>, ...patterns: string[]) {
  trees += 1;
  const root = join(folder.path, `tree-${trees}`);
  for (const [path, content] of Object.entries(files)) await Bun.write(join(root, path), HEAD + content);
  await Bun.write(join(root, 'package.json'), '{}');
  const env = { ...process.env, TEST_ROOT: root, SEED: '7' };
  const child = Bun.spawn([process.execPath, RUNNER, ...patterns], {
    env,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, said, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const runs = Bun.file(join(root, 'runs.txt'));
  return {
    code,
    last: out.trimEnd().split('\n').at(-1),
    said: said.split('\n'),
    runs: (await runs.exists()) ? (await runs.text()).trim().split('\n').length : 0,
  };
}

const lines = ({ said }: { said: string[] }, start: string) => said.filter((line) => line.startsWith(start));

describe('the runner of tests', () => {
  test('counts over all groups, in one last line, and ends with 0 where all hold', async () => {
    const result = await run({
      'test/unit/a.test.ts': holds('one') + holds('two'),
      'test/integration/b.test.ts': `${holds('three')}test.skip('four', () => {});\n`,
    });
    expect(result).toMatchObject({ code: 0, last: '3 passed, 0 failed, 1 skipped' });
    expect(lines(result, '== ').map((line) => line.split(' ')[1])).toEqual(['unit', 'integration']);
    expect(lines(result, 'failed: ')).toEqual([]);
  });

  test('names at its end what failed, runs its file once more, and fails with it', async () => {
    const result = await run({
      'test/unit/a.test.ts': holds('one'),
      'test/unit/b.test.ts': holds('two') + fails('three'),
    });
    expect(result).toMatchObject({ code: 1, last: '2 passed, 1 failed, 0 skipped' });
    expect(lines(result, 'failed: ')).toEqual(['failed: test/unit/b.test.ts > three']);
    expect(lines(result, '== once more')).toEqual(['== once more, alone: test/unit/b.test.ts']);
    expect(lines(result, 'unsteady: ')).toEqual([]);
    expect(lines(result, 'repeat ')).toEqual(['repeat this order with SEED=7']);
  });

  test('takes back what passes alone, and calls it unsteady', async () => {
    const result = await run({ 'test/unit/a.test.ts': holds('one'), 'test/unit/b.test.ts': failsOnce('two') });
    expect(result).toMatchObject({ code: 0, last: '2 passed, 0 failed, 0 skipped', runs: 2 });
    expect(lines(result, 'failed: ')).toEqual(['failed: test/unit/b.test.ts > two']);
    expect(lines(result, 'unsteady: ')).toEqual(['unsteady: test/unit/b.test.ts > two']);
  });

  test('forgives nothing where one of several fails again', async () => {
    const result = await run({ 'test/unit/a.test.ts': fails('one'), 'test/unit/b.test.ts': failsOnce('two') });
    expect(result).toMatchObject({ code: 1, last: '0 passed, 2 failed, 0 skipped', runs: 2 });
    expect(lines(result, 'unsteady: ')).toEqual([]);
  });

  test('takes more than three failures for what they are', async () => {
    const result = await run({
      'test/unit/a.test.ts': fails('one') + fails('two') + fails('three'),
      'test/unit/b.test.ts': failsOnce('four'),
    });
    expect(result).toMatchObject({ code: 1, last: '0 passed, 4 failed, 0 skipped', runs: 1 });
    expect(lines(result, 'failed: ')).toHaveLength(4);
    expect(lines(result, '== once more')).toEqual([]);
  });

  test('fails with a file that breaks off before its tests', async () => {
    const result = await run({
      'test/unit/a.test.ts': holds('one'),
      'test/unit/b.test.ts': "throw new Error('broken');\n",
    });
    expect(result.code).toBe(1);
    expect(result.last).toMatch(/^1 passed, [1-9]\d* failed, 0 skipped$/);
  });

  test('fails where there is nothing to run', async () => {
    expect(await run({})).toMatchObject({ code: 1, last: '0 passed, 0 failed, 0 skipped' });
    expect((await run({ 'test/unit/a.test.ts': holds('one') }, 'test/e2e/')).code).toBe(1);
  });
});
