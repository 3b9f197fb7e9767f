/** Finds, in the sources, what promises the start/stop contract of `kernel/service.ts`. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Says `Service` or `Loop` of something it makes, or has both methods without saying so. */
const MAKES = [
  /\bcreateLoop\(|\bcreateSessionService[<(]/,
  /:\s*Service\b(?!\[\])|&\s*Service\b|\bextends\s+(?:Service|Loop)\b|\bservice:\s*Service\b/,
];
const METHODS = [
  /^\s*(?:async\s+)?start\s*(?:\(\)|:\s*(?:async\s*)?\()/m,
  /^\s*(?:async\s+)?stop\s*(?:\(\)|:\s*(?:async\s*)?\()/m,
];

export function makesService(source: string): boolean {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return MAKES.some((pattern) => pattern.test(code)) || METHODS.every((pattern) => pattern.test(code));
}

/** Paths relative to `root`, sorted; client code for browsers has a life of its own. */
export async function filesThatMakeServices(root: string): Promise<string[]> {
  const names = await readdir(join(root, 'src'), { recursive: true });
  const sources = names.filter((name) => /\.tsx?$/.test(name) && !/^(?:client|console)\//.test(name));
  const found: string[] = [];
  for (const name of sources) {
    if (makesService(await Bun.file(join(root, 'src', name)).text())) found.push(`src/${name}`);
  }
  return found.sort();
}
