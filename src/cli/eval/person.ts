/** Somebody who uses the API: a tenant of their own, documents uploaded one by one, questions asked. */
import type { SearchMode } from '../../contracts/index.ts';
import type { EvalDocument } from './sets.ts';

export interface Login {
  readonly tenant: string;
  readonly email: string;
  readonly password: string;
}

export interface Asked {
  readonly query: string;
  readonly mode: SearchMode;
  readonly rerank: boolean;
}

/** What the API answered that no second try would change: this document, or this question, is not for it. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}

export interface Person {
  readonly login: Login;
  /** Uploads a document; its id. Throws `Refusal`. */
  upload(document: EvalDocument, index: number): Promise<string>;
  /** Whether tasks are unfinished. */
  isWaiting(): Promise<boolean>;
  /** How many tasks of the installation are unfinished, as it was counted some seconds ago. */
  left(): Promise<number>;
  /** Tasks that failed, up to some hundreds. */
  failures(): Promise<{ document: string; message: string }[]>;
  /** Ids of the best 100 documents, best first, and milliseconds that the server took. Throws `Refusal`. */
  search(asked: Asked): Promise<{ documents: string[]; took: number }>;
  /** The model that embedded, by the metrics; `builtin` where none was asked. */
  provider(): Promise<string>;
}

const TOP = 100;
const JSON_TYPE = { 'content-type': 'application/json' };
/** The longest query that the API takes, in UTF-16 units; what is beyond says little more. */
const MAX_QUERY = 8_000;
/** Statuses that are about what was sent. */
const REFUSALS: ReadonlySet<number> = new Set([400, 413, 415, 422]);
/** How pages, calendars, mails and their like begin: a set's text that begins so is text all the same. */
const MISTAKEN =
  /^\s*(?:<[a-z!?/]|%PDF|BEGIN:|WEBVTT|\{\\rtf|(?:From|To|Cc|Subject|Date|Received|Return-Path|Message-ID|MIME-Version):)/i;
/** Tries of one request that was told to come back. */
const MOST_TRIES = 200;

type Fields = Readonly<Record<string, unknown>>;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const items = (value: Fields, name: string): Fields[] => (Array.isArray(value[name]) ? (value[name] as Fields[]) : []);

/** Registers, or signs in where `known` is given. */
export async function createPerson(url: string, known?: Login): Promise<Person> {
  const login: Login = known ?? {
    tenant: `eval-${crypto.randomUUID()}`,
    email: 'eval@example.com',
    password: crypto.randomUUID(),
  };
  let token = await signIn(known === undefined);

  async function signIn(register: boolean): Promise<string> {
    const response = await fetch(`${url}/api/v1/auth/${register ? 'register' : 'login'}`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify(login),
    });
    const answer = (await response.json()) as Fields;
    if (!response.ok) throw new Error(`signing in answered ${response.status}: ${JSON.stringify(answer)}`);
    return text(answer['access_token']);
  }

  async function call(path: string, init: () => RequestInit = () => ({})): Promise<Fields> {
    for (let attempt = 1; ; attempt += 1) {
      const { headers, ...rest } = init();
      const response = await fetch(`${url}/api/v1${path}`, {
        ...rest,
        headers: { ...(headers as Record<string, string>), authorization: `Bearer ${token}` },
      });
      const answer = (await response.json()) as Fields;
      if (response.ok) return answer;
      if (attempt > MOST_TRIES) throw new Error(`${path} answered ${response.status}: ${JSON.stringify(answer)}`);
      if (response.status === 401) token = await signIn(false);
      else if (response.status === 429 || response.status === 503) {
        await Bun.sleep(Number(response.headers.get('retry-after') ?? 1) * 1_000);
      } else {
        const message = `${path} answered ${response.status}: ${JSON.stringify(answer)}`;
        throw REFUSALS.has(response.status) ? new Refusal(message) : new Error(message);
      }
    }
  }

  /**
   * A title is a heading of the text, as it would be in a file; the text itself stays as it is. What would be taken for
   * something else by its first bytes gets its id for a heading, so that it is the text that the set has.
   */
  function formOf({ id, title, text: body }: EvalDocument, index: number, copy: number): FormData {
    const form = new FormData();
    form.append('title', (title || id).slice(0, 500).toWellFormed());
    // The same bytes from the same kind of source are the same document: a set may have them under several ids.
    form.append('source_type', copy === 0 ? 'eval' : `eval-${copy}`);
    const heading = title.replaceAll(/\s+/g, ' ').trim() || (MISTAKEN.test(body) ? id : '');
    // No file of text has NULs in it, and what has them is refused as data.
    const plain = body.replaceAll('\0', ' ');
    const [content, name] = heading ? [`# ${heading}\n\n${plain}`, `${index}.md`] : [plain, `${index}.txt`];
    form.append('file', new Blob([content]), name);
    return form;
  }

  const list = async (status: string, limit: number) =>
    items(await call(`/tasks?status=${status}&limit=${limit}`), 'items');
  /** How often the same bytes were uploaded: a set may have thousands of them. */
  const copies = new Map<string, number>();

  const readMetrics = async (): Promise<string> => (await fetch(`${url}/metrics`)).text();

  return {
    login,
    async upload(document, index) {
      const bytes = Bun.hash(`${document.title}\0${document.text}`).toString();
      for (;;) {
        const copy = copies.get(bytes) ?? 0;
        copies.set(bytes, copy + 1);
        const receipt = await call('/upload', () => ({ method: 'POST', body: formOf(document, index, copy) }));
        if (receipt['duplicate'] !== true) return text(receipt['document_id']);
      }
    },
    // The newest come first, and are the last to be run: while one is queued, the list needn't be read to its end.
    isWaiting: async () => (await list('queued', 1)).length > 0 || (await list('running', 1)).length > 0,
    left: async () =>
      Number(/^dreamhub_queue_length\{[^}]*queue="ingest"[^}]*\} (\d+)/m.exec(await readMetrics())?.[1] ?? 0),
    async failures() {
      const ended = await Promise.all([list('failed', 200), list('dead', 200)]);
      return ended.flat().map((task) => ({
        document: text(task['document_id']),
        message: text((task['error'] as Fields | null)?.['message']),
      }));
    },
    async search({ query, mode, rerank }) {
      const answer = await call('/search', () => ({
        method: 'POST',
        headers: JSON_TYPE,
        body: JSON.stringify({
          query: query.slice(0, MAX_QUERY).toWellFormed(),
          mode,
          top_k: TOP,
          max_per_document: 1,
          rerank,
        }),
      }));
      const documents = items(answer, 'results').map((result) => text(result['document_id']));
      return { documents: [...new Set(documents)], took: Number(answer['took_ms']) };
    },
    async provider() {
      const found = /^dreamhub_openai_tokens_total\{[^}]*kind="embedding"[^}]*model="([^"]+)"/m.exec(
        await readMetrics(),
      );
      return found?.[1] ?? 'builtin';
    },
  };
}
