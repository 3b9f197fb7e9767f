/** The README's walk-through, run as a new user would paste it. */
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { dirname, join } from 'node:path';
import { type Dreamhub, startDreamhub } from '../support/dreamhub.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

let hub: Dreamhub;
let folder: TemporaryFolder;
beforeAll(async () => {
  [hub, folder] = await Promise.all([startDreamhub(), temporaryFolder()]);
}, 120_000);
afterAll(async () => {
  await hub?.stop();
  await folder?.remove();
}, 60_000);

test('the walk-through of the README works exactly as printed', async () => {
  const readme = await Bun.file(join(import.meta.dir, '../../README.md')).text();
  const part = /<!-- walkthrough[^>]*-->([\s\S]*?)<!-- \/walkthrough -->/.exec(readme)?.[1] ?? '';
  const blocks = [...part.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block]) => block);
  expect(blocks.length).toBeGreaterThan(0);
  const shell = Bun.spawn(['sh', '-eu', '-c', blocks.join('\n')], {
    cwd: folder.path,
    // `bun` as the reader has it.
    env: { ...process.env, DREAMHUB: hub.url, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err, code] = await Promise.all([
    new Response(shell.stdout).text(),
    new Response(shell.stderr).text(),
    shell.exited,
  ]);
  expect([code, err]).toEqual([0, '']);
  expect(out).toMatch(/embedding \d+ %/);
  expect(out).toContain('The ferry leaves thirty minutes after high tide. [1]');
  expect(out).toContain('[1] Tides: "The ferry leaves thirty minutes after high tide." (verified)');
  expect(out).toContain('High tide in the harbour is at 14:20.');
}, 60_000);
