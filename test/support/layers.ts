/**
 * The layers of `src/` and `actors/` and a checker of them. A file may import from areas of a lower rank only, never
 * from a sibling of its own rank; `biome.json` has the same bans for the editor, made from this table by
 * `bun test/support/layers.ts` and compared with it by `test/unit/architecture.test.ts`.
 */
import { dirname, join, normalize } from 'node:path';

/** Rank of each area; `root` is the files directly in `src/`. */
export const RANKS: Readonly<Record<string, number>> = {
  kernel: 0,
  contracts: 0,
  db: 1,
  redis: 1,
  retrieval: 2,
  llm: 2,
  ingest: 2,
  storage: 2,
  repositories: 2,
  actors: 3,
  queue: 3,
  realtime: 3,
  services: 4,
  http: 5,
  ws: 5,
  workers: 5,
  cli: 5,
  root: 6,
  // Beside the ranks: what runs in a browser or in somebody else's program.
  client: 0,
  console: 0,
};

/** Areas that may import less than their rank says. */
const ONLY: Readonly<Record<string, readonly string[]>> = {
  actors: ['kernel', 'contracts'],
  client: ['contracts'],
  console: ['client'],
};

/** Nobody imports these but the composition. */
const LEAVES = ['client', 'console'];

/** Packages that belong to some areas. */
const PACKAGES: readonly { name: RegExp; areas: readonly string[]; files: readonly string[] }[] = [
  { name: /^(elysia|@elysiajs\/.*)$/, areas: ['http', 'ws'], files: ['src/app.ts', 'src/deps.ts'] },
  { name: /^ioredis$/, areas: ['redis', 'queue', 'realtime'], files: [] },
  { name: /^postgres$/, areas: ['db', 'repositories'], files: [] },
];

const ENVIRONMENT_FILES = ['src/main.ts', 'src/config.ts', 'src/command.ts'];
const SQL_AREAS = ['db', 'repositories'];

export interface SourceFile {
  /** Relative to the root, with `/`. */
  path: string;
  text: string;
}

export interface Import {
  specifier: string;
  typeOnly: boolean;
}

export interface Violation {
  path: string;
  message: string;
}

export function areaOf(path: string): string | undefined {
  const [top = '', second = '', ...rest] = path.split('/');
  if (top === 'actors') return 'actors';
  if (top !== 'src') return undefined;
  return rest.length === 0 ? 'root' : second;
}

/** Whether `from` may import `to`; a type-only import is an import. */
export function mayImport(from: string, to: string): boolean {
  if (from === to || from === 'root') return true;
  const only = ONLY[from];
  if (only) return only.includes(to);
  return !LEAVES.includes(to) && (RANKS[to] ?? 0) < (RANKS[from] ?? 0);
}

const STATEMENT = /^\s*(?:import|export)\b([^;'"`]*?)\bfrom\s*(['"])([^'"]+)\2/gm;
const BARE = /^\s*import\s*(['"])([^'"]+)\1/gm;
const CALL = /\b(?:import|require)\s*\(\s*(['"])([^'"]+)\1/g;

/** Everything that a file imports, types too: `Bun.Transpiler` drops those. Throws where it sees less than Bun does. */
export function importsOf({ path, text }: SourceFile): Import[] {
  const imports: Import[] = [];
  for (const [, clause = '', , specifier = ''] of text.matchAll(STATEMENT)) {
    imports.push({ specifier, typeOnly: /^\s*type\b/.test(clause) });
  }
  for (const [, , specifier = ''] of text.matchAll(BARE)) imports.push({ specifier, typeOnly: false });
  for (const [, , specifier = ''] of text.matchAll(CALL)) imports.push({ specifier, typeOnly: false });
  const seen = new Set(imports.map(({ specifier }) => specifier));
  const transpiler = new Bun.Transpiler({ loader: path.endsWith('x') ? 'tsx' : 'ts' });
  for (const { path: specifier } of transpiler.scanImports(text)) {
    // What is not written there was added for JSX.
    const written = text.includes(`'${specifier}'`) || text.includes(`"${specifier}"`);
    if (written && !seen.has(specifier)) throw new Error(`${path}: the import of ${specifier} was overlooked`);
  }
  return imports;
}

/** The path that a relative import leads to; undefined for a package. */
function targetOf(path: string, specifier: string): string | undefined {
  return specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : undefined;
}

function importViolations(file: SourceFile, area: string): string[] {
  return importsOf(file).flatMap(({ specifier, typeOnly }) => {
    const target = targetOf(file.path, specifier);
    if (target === undefined) {
      const rule = PACKAGES.find(({ name }) => name.test(specifier));
      const allowed = !rule || rule.areas.includes(area) || rule.files.includes(file.path);
      return allowed ? [] : [`${area} imports the package ${specifier}`];
    }
    const to = areaOf(target);
    if (to === undefined) return /\.(ts|tsx|js)$/.test(target) ? [`${area} imports ${target}`] : [];
    if (!mayImport(area, to)) return [`${area} imports ${to} (${target})`];
    if (area === 'client' && to === 'contracts' && !typeOnly)
      return [`the client imports more than types of ${target}`];
    return [];
  });
}

/** Code without its comments and the text of its strings would need a parser; these patterns do not occur in prose. */
function textViolations({ path, text }: SourceFile, area: string): string[] {
  const found: string[] = [];
  if (!ENVIRONMENT_FILES.includes(path) && /(?<!['"])\b(process|Bun|import\.meta)\.env\b/.test(text)) {
    found.push('reads the environment');
  }
  if (!SQL_AREAS.includes(area) && /\b(sql|tx)(<[^`;]*>)?`|\b(sql|tx)\.unsafe\(/.test(text)) found.push('has SQL');
  return found;
}

export function violationsOf(files: readonly SourceFile[]): Violation[] {
  return files.flatMap((file) => {
    const area = areaOf(file.path);
    if (area === undefined || RANKS[area] === undefined) return [{ path: file.path, message: 'is in no known layer' }];
    const messages = [...importViolations(file, area), ...textViolations(file, area)];
    return messages.map((message) => ({ path: file.path, message }));
  });
}

/** Where an area's files are. */
const globOf = (area: string): string[] => (area === 'actors' ? ['actors/**'] : [`src/${area}/**`]);

/** Biome's form of the table. Patterns are matched against what is written between the quotes. */
export function biomeOverrides() {
  return Object.keys(RANKS)
    .filter((area) => area !== 'root')
    .map((area) => {
      const banned = Object.keys(RANKS).filter((to) => to !== 'root' && !mayImport(area, to));
      return {
        includes: globOf(area),
        linter: {
          rules: {
            style: {
              noRestrictedImports: {
                level: 'error',
                options: {
                  patterns: [
                    {
                      group: banned.map((to) => (to === 'actors' ? '**/../actors/**' : `**/../${to}/**`)),
                      message: `${area} may not import this layer; the table is in test/support/layers.ts.`,
                    },
                  ],
                },
              },
            },
          },
        },
      };
    });
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(biomeOverrides(), null, 2)}\n`);
