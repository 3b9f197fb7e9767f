/** Sources as their users make, see and end them; `sync.ts` pulls what they have. */
import type {
  BlobStore,
  NewSource,
  Page,
  PageRequest,
  Principal,
  SourceItemResource,
  SourceProvider,
  SyncedSource,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { SourceError } from '../ingest/sources/source-error.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Sealer } from '../kernel/sealing.ts';
import {
  deleteSource,
  fenceSource,
  getSource,
  insertSource,
  listItems,
  listSourceDocuments,
  listSources,
  requestSync,
} from '../repositories/sources.ts';
import { sourceFileKey } from '../storage/blob-keys.ts';
import type { Documents } from './documents.ts';
import { encodeTextCursor, idCursor, textCursor, toPage } from './paging.ts';
import { parseSettings, sealSecrets } from './source-settings.ts';

export interface Sources {
  /** Its first sync begins at once. */
  create(request: NewSource, role: Principal['role']): Promise<SyncedSource>;
  list(page: PageRequest): Promise<Page<SyncedSource>>;
  get(id: string): Promise<SyncedSource>;
  /** What the source has, as of the last sync. */
  items(id: string, page: PageRequest & { failed?: boolean | undefined }): Promise<Page<SourceItemResource>>;
  /** Makes a sync begin as soon as somebody is free. */
  sync(id: string): Promise<SyncedSource>;
  /** Keeps the file that the source is read from, in place of an earlier one, and syncs. */
  putFile(id: string, file: { body: ReadableStream<Uint8Array> | null; signal: AbortSignal }): Promise<SyncedSource>;
  /** With all documents that were pulled from it. */
  remove(id: string): Promise<void>;
}

export interface SourcesOptions {
  database: Database;
  blobs: BlobStore;
  documents: Pick<Documents, 'remove'>;
  providers: ReadonlyMap<string, SourceProvider>;
  /** Undefined: no credentials can be kept here. */
  sealer: Sealer | undefined;
  ids: Ids;
  maxUploadBytes: number;
}

const MOST_SOURCES = 200;
const DELETED_AT_ONCE = 100;

const notFound = () => new AppError('not_found', 'There is no such source.');

export function createSources(options: SourcesOptions): Sources {
  const { database, blobs, documents, providers, sealer, ids, maxUploadBytes } = options;

  function providerOf(kind: string): SourceProvider {
    const provider = providers.get(kind);
    if (provider) return provider;
    const message = `one of ${[...providers.keys()].join(', ')}`;
    throw new AppError('invalid_request', 'There are no sources of this kind.', {
      errors: [{ path: '/kind', message }],
    });
  }

  async function get(id: string): Promise<SyncedSource> {
    const source = await database.tenant((sql) => getSource(sql, id));
    if (!source) throw notFound();
    return source;
  }

  async function sync(id: string): Promise<SyncedSource> {
    const source = await database.tenant((sql) => requestSync(sql, id));
    if (!source) throw notFound();
    return source;
  }

  async function removeDocuments(id: string): Promise<void> {
    for (;;) {
      const found = await database.tenant((sql) => listSourceDocuments(sql, id, DELETED_AT_ONCE));
      if (found.length === 0) return;
      for (const documentId of found) {
        await documents.remove(documentId).catch((error: unknown) => {
          if (!(error instanceof AppError && error.kind === 'not_found')) throw error;
        });
      }
    }
  }

  /** False where documents came meanwhile: a sync that somebody asked for had begun since it was fenced. */
  async function deleteEmpty(id: string): Promise<boolean> {
    return database.tenant(async (sql) => {
      // Whoever is adding a document holds the source until it is there; what comes later finds another number.
      if (!(await fenceSource(sql, id))) return true;
      if ((await listSourceDocuments(sql, id, 1)).length > 0) return false;
      await deleteSource(sql, id);
      return true;
    });
  }

  return {
    async create(request, role) {
      const provider = providerOf(request.kind);
      if (provider.restricted && role !== 'owner' && role !== 'admin') {
        throw new AppError('forbidden', `The role ${role} may not make a source of this kind.`);
      }
      const settings = parseSettings(provider, request);
      try {
        await provider.check?.(settings, currentScope().tenantId);
      } catch (error) {
        if (!(error instanceof SourceError)) throw error;
        throw new AppError('invalid_request', error.message, { errors: [{ path: '', message: error.message }] });
      }
      const id = ids.uuid();
      const row = {
        id,
        kind: provider.kind,
        name: request.name ?? nameFrom(provider.kind, settings),
        visibility: request.visibility ?? 'tenant',
        intervalMinutes: request.interval_minutes ?? null,
        ...sealSecrets(sealer, provider, { id, settings }),
      };
      const made = await database.tenant((sql) => insertSource(sql, row, MOST_SOURCES));
      if (!made) throw new AppError('conflict', `A tenant has at most ${MOST_SOURCES} sources.`);
      return made;
    },

    async list({ limit, cursor }) {
      const rows = await database.tenant((sql) => listSources(sql, { limit: limit + 1, after: idCursor(cursor) }));
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => row });
    },

    get,

    async items(id, { limit, cursor, failed = false }) {
      const after = textCursor(cursor);
      const rows = await database.tenant(async (sql) => {
        if (!(await getSource(sql, id))) throw notFound();
        return listItems(sql, id, { limit: limit + 1, after, failed });
      });
      return toPage(rows, limit, { cursor: ({ key }) => encodeTextCursor(key), item: (row) => row });
    },

    sync,

    async putFile(id, { body, signal }) {
      const source = await get(id);
      if (source.settings['file'] !== true && source.settings['mbox_file'] !== true) {
        throw new AppError('conflict', 'This source is not read from a file.');
      }
      const staged = await blobs.stage(body ?? new Blob([]).stream(), { maxBytes: maxUploadBytes, signal });
      await blobs.promote(staged, sourceFileKey(id));
      try {
        return await sync(id);
      } catch (error) {
        // Deleted meanwhile: nobody would ever remove the file.
        if (error instanceof AppError && error.kind === 'not_found') await blobs.remove(sourceFileKey(id));
        throw error;
      }
    },

    async remove(id) {
      // From now on no sync adds anything; what one was about to add has been added or is refused.
      if (!(await database.tenant((sql) => fenceSource(sql, id)))) throw notFound();
      do {
        await removeDocuments(id);
        await blobs.remove(sourceFileKey(id));
      } while (!(await deleteEmpty(id)));
    },
  };
}

function nameFrom(kind: string, settings: Record<string, unknown>): string {
  const what = settings['url'] ?? settings['host'] ?? settings['bucket'] ?? settings['path'] ?? settings['mbox_url'];
  return (typeof what === 'string' ? what : kind).slice(0, 200);
}
