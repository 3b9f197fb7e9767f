/**
 * `bun run spaces`: embedding spaces from the command line, by the API of a running DreamHub, so that it works with every
 * database. DREAMHUB_URL says where it is (http://127.0.0.1:PORT), OPERATOR_TOKEN or the secret kept in DATA_DIR who asks.
 * Exits 0, 1 where the server refused, 2 where the command is wrong.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { SpaceFailure, SpaceResource } from '../contracts/index.ts';

const HELP = `bun run spaces [list]                              all spaces, how far each is built, what shadow reads saw
bun run spaces create --model NAME --dimensions N  build one beside [--provider P] [--shadow-share 0…1] [--observe-hours N]
bun run spaces build --pipeline                    cut every document anew beside, by the running release's extractors and
                                                   chunker [--shadow-share 0…1] [--observe-hours N] [--model … --dimensions N]
bun run spaces failures ID                         documents that could not be cut anew: they keep their chunks
bun run spaces activate ID                         let searches ask it; refused while documents are missing
bun run spaces rollback ID                         back to the space that ID took over from
bun run spaces retire ID                           give it up; its vectors are removed
`;

type Environment = Readonly<Record<string, string | undefined>>;

export class UsageError extends Error {}

type Ask = (method: 'GET' | 'POST', path: string, body?: unknown) => Promise<unknown>;

async function operatorToken(env: Environment): Promise<string> {
  const { OPERATOR_TOKEN: token, OPERATOR_TOKEN_FILE: file, DATA_DIR: dataDir = '.dreamhub' } = env;
  if (token) return token.trim();
  const kept = Bun.file(file ?? join(dataDir, 'secrets', 'operator'));
  if (await kept.exists()) return (await kept.text()).trim();
  throw new UsageError('OPERATOR_TOKEN is needed, or DATA_DIR with the secret of an embedded installation.');
}

async function connect(env: Environment): Promise<Ask> {
  const { DREAMHUB_URL, PORT = '8080' } = env;
  const base = `${DREAMHUB_URL ?? `http://127.0.0.1:${PORT}`}/api/v1/admin/spaces`;
  const authorization = `Bearer ${await operatorToken(env)}`;
  return async (method, path, body) => {
    const response = await fetch(`${base}${path}`, {
      method,
      headers: { authorization, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as { detail?: string };
    if (!response.ok) throw new Error(`${response.status}: ${answer.detail ?? 'refused'}`);
    return answer;
  };
}

const isId = (id: string) => /^\d+$/.test(id);
const percent = (value: number | null) => (value === null ? '–' : `${(value * 100).toFixed(1)} %`);

function lineOf({
  id,
  state,
  provider,
  model,
  dimensions,
  documents,
  chunks,
  shadow,
  ...space
}: SpaceResource): string {
  const failed = documents.failed > 0 ? `, ${documents.failed} failed` : '';
  const built = `${documents.built}/${documents.total} documents${failed}, ${chunks} chunks`;
  const seen = `${shadow.compared} compared, overlap ${percent(shadow.overlap)}, agreement ${percent(shadow.agreement)}`;
  return `${id}\t${state}\t${provider} ${model} (${dimensions})\t${space.pipeline} (cut ${space.cut})\t${built}\t${seen}`;
}

/** All pages of a list. */
async function everything<T>(ask: Ask, path: string): Promise<T[]> {
  const items: T[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query = `?limit=200${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
    const page = (await ask('GET', `${path}${query}`)) as { items: T[]; next_cursor: string | null };
    items.push(...page.items);
    cursor = page.next_cursor;
  }
  return items;
}

const failureLine = ({ tenant_id, document_id, code, message, given_up }: SpaceFailure): string =>
  `${tenant_id}\t${document_id}\t${code}\t${given_up ? 'keeps its chunks' : 'is tried again'}\t${message}`;

/** Throws `UsageError`, what parsing the arguments throws, or what the server said. */
export async function runSpaces(args: readonly string[], env: Environment): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      model: { type: 'string' },
      dimensions: { type: 'string' },
      provider: { type: 'string' },
      'shadow-share': { type: 'string' },
      'observe-hours': { type: 'string' },
      pipeline: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [command = 'list', id = ''] = positionals;
  if (values.help) return void process.stdout.write(HELP);
  const ask = await connect(env);
  if (command === 'list') {
    const items = await everything<SpaceResource>(ask, '');
    process.stdout.write(`${items.map(lineOf).join('\n')}\n`);
    return;
  }
  if (command === 'failures' && isId(id)) {
    for (const failure of await everything<SpaceFailure>(ask, `/${id}/failures`)) {
      process.stdout.write(`${failureLine(failure)}\n`);
    }
    return;
  }
  const number = (value: string | undefined) => (value === undefined ? undefined : Number(value));
  let space: unknown;
  if (command === 'create' || command === 'build') {
    if (command === 'create' && (values.model === undefined || values.dimensions === undefined)) {
      throw new UsageError('create takes --model and --dimensions');
    }
    if (command === 'build' && !values.pipeline) throw new UsageError('build takes --pipeline');
    space = await ask('POST', '', {
      ...(values.pipeline && { pipeline: 'current' }),
      provider: values.provider,
      model: values.model,
      dimensions: number(values.dimensions),
      shadow_share: number(values['shadow-share']),
      observe_hours: number(values['observe-hours']),
    });
  } else if (['activate', 'rollback', 'retire'].includes(command) && isId(id)) {
    space = await ask('POST', `/${id}/${command}`);
  } else throw new UsageError(HELP);
  process.stdout.write(`${lineOf(space as SpaceResource)}\n`);
}
