/**
 * Files of a folder on the server, under what the operator has named in `SOURCE_FOLDERS`: by default nothing. Links are
 * looked through, so that none leads out of it; hidden files are passed over. Size and time of change say what is new. A
 * folder that cannot be looked into fails alone, and what was read in it before stays.
 */

import { constants, type Dirent } from 'node:fs';
import { lstat, open as openFile, readdir, realpath } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';
import type { SourceItem, SourceProvider, SourceRun, SourceSession } from '../../contracts/index.ts';
import { SourceError, SourceUnavailable } from './source-error.ts';

const Settings = Type.Object({
  path: Type.String({ minLength: 1, maxLength: 4_000, description: 'A folder that the operator allows' }),
});

/** A folder, and the tenant that may read it; null: every tenant's administrators. */
export interface AllowedFolder {
  path: string;
  tenantId: string | null;
}

const MAX_KEY_BYTES = 2_000;
const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined);
const isMissing = (error: unknown) => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';

/** In words, for what the system refuses. */
function refusalOf(error: unknown, what: string): SourceError {
  const code = codeOf(error);
  if (code === 'ELOOP') return new SourceError('The file is a link, or lies behind one.', { cause: error });
  const reason = code === 'EACCES' || code === 'EPERM' ? 'may not be read' : `cannot be read (${String(code)})`;
  return new SourceError(`The ${what} ${reason} by DreamHub.`, { cause: error });
}

export function createFolderProvider({ folders }: { folders: readonly AllowedFolder[] }): SourceProvider {
  /** The folder itself, if it lies where this tenant may read. */
  async function allowed(settings: Record<string, unknown>, tenantId: string): Promise<string> {
    const { path } = settings as Static<typeof Settings>;
    const refused = new SourceError('The operator of this installation does not allow this folder to be read.');
    // Of a folder that may not be read nobody learns whether it exists.
    const real = await realpath(resolve(path)).catch(() => undefined);
    for (const folder of folders) {
      if (folder.tenantId !== null && folder.tenantId !== tenantId) continue;
      // An allowed folder that is not there (yet) allows nothing.
      const root = await realpath(folder.path).catch(() => undefined);
      if (root !== undefined && real !== undefined && isWithin(root, real)) return real;
    }
    throw refused;
  }

  /** Paths of files, and of folders that cannot be looked into, with why. */
  async function* filesOf(folder: string, signal: AbortSignal): AsyncGenerator<{ path: string; closed?: SourceError }> {
    let entries: Dirent[];
    try {
      entries = await readdir(folder, { withFileTypes: true });
    } catch (error) {
      // Gone since it was listed.
      if (!isMissing(error)) yield { path: folder, closed: refusalOf(error, 'folder') };
      return;
    }
    for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
      signal.throwIfAborted();
      if (entry.name.startsWith('.')) continue;
      const path = join(folder, entry.name);
      if (entry.isDirectory()) yield* filesOf(path, signal);
      else if (entry.isFile()) yield { path };
    }
  }

  return {
    kind: 'folder',
    settings: Settings,
    secrets: [],
    restricted: true,
    check: async (settings, tenantId) => void (await allowed(settings, tenantId)),

    async open({ settings, tenantId, maxBytes, signal, keys }: SourceRun): Promise<SourceSession> {
      const root = await allowed(settings, tenantId);
      /** Folders that cannot be looked into: items that fail, and with them all that was known of what is below. */
      const closed = new Map<string, SourceError>();
      const keyOf = (path: string) => relative(root, path).split(sep).join('/');
      return {
        async *list(): AsyncGenerator<SourceItem> {
          for await (const file of filesOf(root, signal)) {
            const key = keyOf(file.path);
            if (file.closed) {
              if (key === '') throw new SourceUnavailable(file.closed.message, { cause: file.closed });
              closed.set(key, file.closed);
              for (const known of [key, ...keys()]) {
                if (known === key || known.startsWith(`${key}/`)) yield { key: known, fingerprint: null };
              }
              continue;
            }
            const found = await lstat(file.path).catch((error: unknown) => {
              if (isMissing(error)) return undefined;
              throw error;
            });
            if (!found?.isFile() || Buffer.byteLength(key) > MAX_KEY_BYTES || !key.isWellFormed()) continue;
            yield { key, fingerprint: `${found.size} ${found.mtimeMs}` };
          }
        },

        async fetch({ key, fingerprint }) {
          const shut = closed.get(key);
          if (shut) throw shut;
          const path = join(root, key);
          // What was a file when it was listed may be a link by now: neither it nor a folder above may lead elsewhere.
          const real = await realpath(path).catch((error: unknown) => {
            if (isMissing(error)) return undefined;
            throw refusalOf(error, 'file');
          });
          if (real === undefined) return 'gone';
          if (real !== path) throw new SourceError('The file is a link, or lies behind one.');
          const file = await openFile(path, constants.O_RDONLY | constants.O_NOFOLLOW).catch((error: unknown) => {
            if (isMissing(error)) return undefined;
            throw refusalOf(error, 'file');
          });
          if (!file) return 'gone';
          const { size } = await file.stat();
          if (size > maxBytes) {
            await file.close();
            throw new SourceError(`It is larger than the ${maxBytes} bytes allowed.`);
          }
          const body = file.createReadStream() as AsyncIterable<Uint8Array>;
          return { body, filename: basename(key), metadata: { path: key }, fingerprint };
        },
      };
    },
  };
}

function isWithin(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}
