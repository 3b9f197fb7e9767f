/**
 * What somebody has here, as a ZIP. It is made while it is read: a page of rows, a block of a file, in the reader's pace, so
 * neither the number nor the size of documents is held. Files are stored as they are: most are compressed already, and the
 * processor is others'. Each export sees what is there when its turn comes; what goes meanwhile is left out.
 *
 * A user gets the documents that are the user's, with texts, conversations with sources, settings, and every row that names the
 * user (found in the catalogue, so that what is added later is in it). An owner may take all that the tenant sees, and the list of its
 * members; never what others keep private. Everything is read in the caller's scope. Folders are named by ids and names of files are
 * made harmless, so nothing is written outside of where it is unpacked, and no two are the same.
 */
import { makeZip } from 'client-zip';
import type { BlobStore, DocumentResource, Principal, PrivacyScope } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runAs, type Scope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import { getProfile } from '../repositories/accounts.ts';
import { listMessages } from '../repositories/conversations.ts';
import { getLiveVersion, getOriginal, listDocuments } from '../repositories/documents.ts';
import { listEveryConversation, listExportedTables, pageRows } from '../repositories/exports.ts';
import { getOwnRole, listMembers } from '../repositories/memberships.ts';
import { originalKey, textKey } from '../storage/blob-keys.ts';
import { toFilename } from '../storage/filename.ts';

export interface Exports {
  /** In the ambient scope; `signal` aborts when the caller has gone. */
  start(request: { scope: PrivacyScope }, by: Principal, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
}

export interface ExportsOptions {
  database: Database;
  blobs: Pick<BlobStore, 'read'>;
  clock: Clock;
  logger: Logger;
}

/** What is read at this moment, to be closed when the caller goes. */
interface Reading {
  current: ReadableStreamDefaultReader<Uint8Array> | undefined;
}

interface Entry {
  name: string;
  input: AsyncIterable<Uint8Array | string> | string;
}

const ROWS_AT_ONCE = 200;
const RETRY_MS = 60_000;

const README = `# Your data

| file                                   | what                                                                  |
| -------------------------------------- | --------------------------------------------------------------------- |
| account.json                           | who you are, and what this export is of                               |
| documents/<id>/<file name>             | the document as it was uploaded                                       |
| documents/<id>/extracted-text.txt      | the text that searches and answers use, in UTF-8                      |
| documents/<id>/document.json           | title, size, SHA-256, metadata and so on, as the API tells them       |
| conversations/<id>.json                | messages in their order; answers with the sources that they cite      |
| data/<table>.json                      | every other row that is yours: settings, facts, keys' names, usage …  |
| members.json                           | in the export of a tenant: who is a member                            |

Times are RFC 3339 in UTC. Offsets of sources count UTF-16 code units in the extracted text. Passwords, keys and other secrets are
not in it. What others keep private is not in it either.
`;

/** Characters that Windows has no files for, and names that it takes for devices. */
const FORBIDDEN = /[<>:"|?*\\/]/g;
const DEVICE = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i;
const OURS = new Set(['extracted-text.txt', 'document.json']);

/** One that can be unpacked anywhere, and is none of ours. */
export function toEntryName(filename: string): string {
  const name = toFilename(filename)
    .replace(FORBIDDEN, '_')
    .replace(/[. ]+$/, '_');
  return DEVICE.test(name) || OURS.has(name.toLowerCase()) ? `_${name}` : name;
}

const isGone = (error: unknown) => error instanceof AppError && error.kind === 'not_found';

/** A JSON array, item by item. */
async function* jsonArray(pages: AsyncIterable<readonly string[]>): AsyncGenerator<string> {
  let before = '[\n';
  for await (const page of pages) {
    if (page.length === 0) continue;
    yield before + page.join(',\n');
    before = ',\n';
  }
  yield before === '[\n' ? '[]\n' : '\n]\n';
}

export function createExports({ database, blobs, clock, logger }: ExportsOptions): Exports {
  /** Who has one under way in this process. */
  const running = new Set<string>();

  /** `within`: the stream is read outside of every scope. */
  function entriesOf(request: { scope: PrivacyScope }, scope: Scope, reading: Reading) {
    const within = <T>(fn: () => Promise<T>): Promise<T> => runAs(scope, fn);

    async function* pagesOf<T>(read: (after: T | undefined) => Promise<T[]>): AsyncGenerator<T[]> {
      for (let after: T | undefined; ; ) {
        const last = after;
        const page = await within(() => read(last));
        if (page.length > 0) yield page;
        after = page.at(-1);
        if (page.length < ROWS_AT_ONCE) return;
      }
    }

    async function* blobEntry(name: string, key: () => Promise<string | undefined>): AsyncGenerator<Entry> {
      try {
        const stream = await within(async () => {
          const found = await key();
          return found === undefined ? undefined : blobs.read(found);
        });
        if (stream) yield { name, input: bytesOf(stream) };
      } catch (error) {
        // It went since it was listed.
        if (!isGone(error)) throw error;
      }
    }

    async function* bytesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
      const reader = stream.getReader();
      reading.current = reader;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
      }
    }

    async function* documentEntries(document: DocumentResource): AsyncGenerator<Entry> {
      const { id, filename, status } = document;
      const folder = `documents/${id}`;
      yield { name: `${folder}/document.json`, input: `${JSON.stringify(document, null, 2)}\n` };
      // Of what was quarantined there are no bytes.
      if (status === 'quarantined') return;
      yield* blobEntry(`${folder}/${toEntryName(filename)}`, async () => {
        const original = await database.read((sql) => getOriginal(sql, id));
        return original && originalKey(original.original);
      });
      yield* blobEntry(`${folder}/extracted-text.txt`, async () => {
        const live = (await database.read((sql) => getLiveVersion(sql, id)))?.live_version ?? null;
        return live === null ? undefined : textKey(id, live);
      });
    }

    async function* messagesOf(id: string): AsyncGenerator<string[]> {
      const read = (after: { position: number } | undefined) =>
        database.read((sql) => listMessages(sql, id, { limit: ROWS_AT_ONCE, after: after?.position ?? 0 }));
      for await (const page of pagesOf(read)) {
        yield page.map(({ position: _position, ...message }) => JSON.stringify(message));
      }
    }

    async function* conversationText(conversation: { id: string }): AsyncGenerator<string> {
      yield `${JSON.stringify(conversation).slice(0, -1)},"messages":`;
      yield* jsonArray(messagesOf(conversation.id));
      yield '}\n';
    }

    async function* rowPages(table: Parameters<typeof pageRows>[1]): AsyncGenerator<string[]> {
      for (let offset = 0; ; offset += ROWS_AT_ONCE) {
        const from = offset;
        const page = await within(() =>
          database.read((sql) => pageRows(sql, table, { limit: ROWS_AT_ONCE, offset: from })),
        );
        yield page;
        if (page.length < ROWS_AT_ONCE) return;
      }
    }

    async function* members(): AsyncGenerator<string[]> {
      const read = (after: { id: string } | undefined) =>
        database.read((sql) => listMembers(sql, { limit: ROWS_AT_ONCE, after: after?.id }));
      for await (const page of pagesOf(read)) yield page.map((member) => JSON.stringify(member));
    }

    return (async function* entries(): AsyncGenerator<Entry> {
      yield { name: 'README.md', input: README };
      const [profile, role] = await within(() =>
        database.read((sql) => Promise.all([getProfile(sql), getOwnRole(sql)])),
      );
      const account = { ...profile, role, scope: request.scope, exported_at: new Date(clock.now()).toISOString() };
      yield { name: 'account.json', input: `${JSON.stringify(account, null, 2)}\n` };
      if (request.scope === 'tenant') yield { name: 'members.json', input: jsonArray(members()) };
      for (const table of await within(() => database.read(listExportedTables))) {
        yield { name: `data/${table.name}.json`, input: jsonArray(rowPages(table)) };
      }
      const conversations = (after: { id: string } | undefined) =>
        database.read((sql) => listEveryConversation(sql, { limit: ROWS_AT_ONCE, after: after?.id }));
      for await (const page of pagesOf(conversations)) {
        for (const one of page) yield { name: `conversations/${one.id}.json`, input: conversationText(one) };
      }
      const documents = (after: { id: string } | undefined) =>
        database.read((sql) => listDocuments(sql, { limit: ROWS_AT_ONCE, after: after?.id }));
      for await (const page of pagesOf(documents)) {
        for (const document of page) {
          if (request.scope === 'tenant' || document.owner_id === scope.userId) yield* documentEntries(document);
        }
      }
    })();
  }

  return {
    async start(request, { role }, signal) {
      const scope = currentScope();
      if (request.scope === 'tenant' && role !== 'owner') {
        throw new AppError('forbidden', 'Only an owner exports a tenant.');
      }
      const who = `${scope.tenantId}/${scope.userId}`;
      if (running.has(who)) {
        throw new AppError('rate_limited', 'An export of yours is under way.', { retryAfterMs: RETRY_MS });
      }
      running.add(who);
      logger.info(
        { event: 'export.started', tenant_id: scope.tenantId, user_id: scope.userId, scope: request.scope },
        'audit',
      );
      const reading: Reading = { current: undefined };
      const zip = makeZip(entriesOf(request, scope, reading), { buffersAreUTF8: true }).getReader();
      const over = () => {
        running.delete(who);
        signal.removeEventListener('abort', cancel);
      };
      const cancel = () => {
        over();
        void reading.current?.cancel().catch(() => undefined);
        zip.cancel(signal.reason).catch(() => undefined);
      };
      signal.addEventListener('abort', cancel, { once: true });
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            try {
              const { done, value } = await zip.read();
              if (!done) return controller.enqueue(value);
              over();
              controller.close();
            } catch (error) {
              over();
              logger.error({ err: error }, 'an export broke off');
              controller.error(error);
            }
          },
          cancel,
        },
        { highWaterMark: 0 },
      );
    },
  };
}
