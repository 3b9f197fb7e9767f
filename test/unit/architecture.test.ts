import { describe, expect, test } from 'bun:test';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { biomeOverrides, importsOf, RANKS, type SourceFile, violationsOf } from '../support/layers.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

async function sources(): Promise<SourceFile[]> {
  const files: SourceFile[] = [];
  for await (const path of new Bun.Glob('{src,actors}/**/*.{ts,tsx}').scan(ROOT)) {
    files.push({ path, text: await Bun.file(`${ROOT}/${path}`).text() });
  }
  return files;
}

const messages = (path: string, text: string): string[] => violationsOf([{ path, text }]).map(({ message }) => message);

describe('the sources', () => {
  test('keep to their layers', async () => {
    const files = await sources();
    expect(violationsOf(files)).toEqual([]);
    // A check that looked at nothing proves nothing.
    const imports = files.flatMap((file) => importsOf(file));
    expect(files.length).toBeGreaterThan(30);
    expect(imports.filter(({ specifier }) => specifier.startsWith('.')).length).toBeGreaterThan(50);
    expect(imports.filter(({ typeOnly }) => typeOnly).length).toBeGreaterThan(10);
  });

  test('have no area that the table of ranks does not know', async () => {
    const entries = await readdir(`${ROOT}/src`, { withFileTypes: true });
    const areas = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    expect(areas.length).toBeGreaterThan(10);
    expect(areas.filter((area) => !(area in RANKS))).toEqual([]);
  });
});

describe('the checker', () => {
  test('lets a file import from lower ranks', () => {
    const text = `import { a } from '../repositories/a.ts';\nimport type { B } from '../contracts/index.ts';\n`;
    expect(messages('src/services/search.ts', text)).toEqual([]);
  });

  test('catches an import from a higher rank', () => {
    expect(messages('src/db/a.ts', `import { b } from '../services/b.ts';`)).toEqual([
      'db imports services (src/services/b.ts)',
    ]);
  });

  test('catches an import from a sibling area of the same rank', () => {
    expect(messages('src/http/routes/a.ts', `import { b } from '../../ws/b.ts';`)).toHaveLength(1);
    expect(messages('src/kernel/a.ts', `import type { B } from '../contracts/index.ts';`)).toHaveLength(1);
  });

  test.each([
    [`import type { B } from '../services/b.ts';`],
    [`import {\n  type B,\n  type C,\n} from '../services/b.ts';`],
    [`export type { B } from '../services/b.ts';`],
    [`export * from '../services/b.ts';`],
    [`import '../services/b.ts';`],
    [`const b = await import('../services/b.ts');`],
    [`type B = import('../services/b.ts').B;`],
  ])('catches every form of import: %s', (text) => {
    expect(messages('src/redis/a.ts', text)).toEqual(['redis imports services (src/services/b.ts)']);
  });

  test('lets an actor machine import kernel and contracts alone', () => {
    expect(messages('actors/a.ts', `import { b } from '../src/kernel/errors.ts';`)).toEqual([]);
    expect(messages('actors/a.ts', `import { b } from '../src/redis/keys.ts';`)).toHaveLength(1);
    expect(messages('actors/a.ts', `import { b } from '../test/support/b.ts';`)).toHaveLength(1);
  });

  test('lets the client have types of the contracts only, and the console the client only', () => {
    expect(messages('src/client/a.ts', `import type { B } from '../contracts/index.ts';`)).toEqual([]);
    expect(messages('src/client/a.ts', `import { B } from '../contracts/index.ts';`)).toHaveLength(1);
    expect(messages('src/console/a.tsx', `import { B } from '../client/client.ts';`)).toEqual([]);
    expect(messages('src/console/a.tsx', `import { B } from '../contracts/wire.ts';`)).toHaveLength(1);
    expect(messages('src/services/a.ts', `import { B } from '../client/client.ts';`)).toHaveLength(1);
  });

  test('keeps packages, the environment and SQL in their places', () => {
    expect(messages('src/services/a.ts', `import { Elysia } from 'elysia';`)).toHaveLength(1);
    expect(messages('src/http/a.ts', `import { Elysia } from 'elysia';`)).toEqual([]);
    expect(messages('src/services/a.ts', 'const a = process.env.HOME;')).toEqual(['reads the environment']);
    expect(messages('src/config.ts', 'const a = process.env.HOME;')).toEqual([]);
    expect(messages('src/services/a.ts', 'await sql`select 1`;')).toEqual(['has SQL']);
    expect(messages('src/services/a.ts', 'await tx<{ n: number }[]>`select 1`;')).toEqual(['has SQL']);
    expect(messages('src/repositories/a.ts', 'await sql`select 1`;')).toEqual([]);
  });

  test('catches a file in no layer', () => {
    expect(messages('src/helpers/a.ts', '')).toEqual(['is in no known layer']);
  });
});

test("Biome's import rules say the same as the table of ranks", async () => {
  const config: unknown = await Bun.file(`${ROOT}/biome.json`).json();
  expect(config).toMatchObject({ overrides: expect.arrayContaining(biomeOverrides()) });
});
