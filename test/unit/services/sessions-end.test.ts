/**
 * Whoever changes what somebody may do ends what he has open (sockets, event streams): a repository's function that takes
 * away or changes a membership, an account, a key or a session is imported only where the end is ordered too.
 */
import { expect, test } from 'bun:test';
import { fileURLToPath } from 'node:url';
import { Glob } from 'bun';

const SRC = fileURLToPath(new URL('../../../src/', import.meta.url));
/** A statement that changes or removes; one that adds takes nothing from anybody. */
const TAKES_AWAY = /\b(?:update|delete\s+from)\s+(?:memberships|accounts|api_keys)\b|\bset\s+revoked_at\b/i;
/** `control.endUser`, `endSession`, `endTenant`, or what the identity service orders them by. */
const ORDERS_END = /\b(?:endUser|endSession|endTenant|announceEnd)\(/;

const FUNCTION = /^export (?:async )?function (\w+)/gm;

/** Names of exported functions with their texts. */
function functionsOf(source: string): [name: string, text: string][] {
  const starts = [...source.matchAll(FUNCTION)];
  return starts.map((start, i) => [start[1] ?? '', source.slice(start.index, starts[i + 1]?.index)]);
}

async function sources(folder: string): Promise<[path: string, source: string][]> {
  const paths = await Array.fromAsync(new Glob(`${folder}/**/*.ts`).scan(SRC));
  return Promise.all(paths.map(async (path) => [path, await Bun.file(SRC + path).text()] as [string, string]));
}

test('whatever takes rights away is called where sessions are ended', async () => {
  const takers = (await sources('repositories')).flatMap(([, source]) =>
    functionsOf(source)
      .filter(([, text]) => TAKES_AWAY.test(text))
      .map(([name]) => name),
  );
  expect(takers).toContain('revokeFamily');
  const callers = (await Promise.all(['services', 'http', 'ws', 'workers', 'cli', 'actors'].map(sources)))
    .flat()
    .filter(([, source]) => takers.some((name) => new RegExp(`\\b${name}\\(`).test(source)));
  expect(callers.map(([path]) => path)).toContain('services/identity.ts');
  expect(callers.filter(([, source]) => !ORDERS_END.test(source)).map(([path]) => path)).toEqual([]);
});

test('a membership that is taken away in silence would be found', () => {
  const source =
    'export async function deleteMembership(sql: Sql) {\n  await sql`delete from memberships where user_id = 1`;\n}\n';
  expect(functionsOf(source).map(([name, text]) => [name, TAKES_AWAY.test(text)])).toEqual([
    ['deleteMembership', true],
  ]);
});
