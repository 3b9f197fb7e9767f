/**
 * What depends on whose something is. A member changes and deletes what is the member's own; what is the whole tenant's its
 * owners and admins may delete too, and of the private documents of others they see the names and sizes, and may delete them
 * unread.
 */
import type { DocumentResource, Page, Principal } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { currentScope, runAs } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import { getOwner } from '../repositories/documents.ts';
import { getOverseen, listOverseen, type OverseenDocument } from '../repositories/documents-overseen.ts';
import { getSourceOwner } from '../repositories/sources.ts';
import { may } from './access.ts';
import type { Documents } from './documents.ts';
import { idCursor } from './paging.ts';
import type { Sources } from './sources.ts';
import type { Tasks } from './tasks.ts';

const ADMINISTRATORS: ReadonlySet<string> = new Set(['owner', 'admin']);

function assertOwn(owner: string, { userId, role }: Principal, what: string): void {
  if (owner === userId || ADMINISTRATORS.has(role)) return;
  throw new AppError('forbidden', `Only who made this ${what}, an admin or an owner may do this.`);
}

/** No more than the names: what would tell of the content is left out. */
function toResource({ created_at, ...row }: OverseenDocument): DocumentResource {
  return {
    ...row,
    sha256: null,
    source_id: null,
    source_item: null,
    parent_id: null,
    version: null,
    visibility: 'private',
    metadata: {},
    pages: null,
    chunks: null,
    chunking: null,
    task_id: null,
    error: null,
    created_at: created_at.toISOString(),
  };
}

export interface OwnedDocuments extends Omit<Documents, 'list' | 'get' | 'remove'> {
  /** With the names of others' private documents for who administers the tenant. */
  list(query: Parameters<Documents['list']>[0], by: Principal): Promise<Page<DocumentResource>>;
  get(id: string, by: Principal): Promise<DocumentResource>;
  remove(id: string, by: Principal): Promise<void>;
}

export function createOwnedDocuments({
  database,
  documents,
}: {
  database: Database;
  documents: Documents;
}): OwnedDocuments {
  async function overseen(id: string, by: Principal): Promise<OverseenDocument | undefined> {
    return may(by, 'manage') ? database.tenant((sql) => getOverseen(sql, id)) : undefined;
  }

  return {
    ...documents,

    async list(query, by) {
      if (!may(by, 'manage')) return documents.list(query);
      const { cursor, limit, ...rest } = query;
      const more = { ...rest, limit: limit + 1, after: idCursor(cursor) };
      const [own, others] = await Promise.all([
        documents.list(query),
        database.tenant((sql) => listOverseen(sql, more)),
      ]);
      if (others.length === 0) return own;
      const all = [...own.items, ...others.map(toResource)].sort((a, b) => (a.id < b.id ? 1 : -1));
      const items = all.slice(0, limit);
      const isMore = own.next_cursor !== null || all.length > limit;
      return { items, next_cursor: isMore ? (items.at(-1)?.id ?? null) : null };
    },

    async get(id, by) {
      try {
        return await documents.get(id);
      } catch (error) {
        if (!(error instanceof AppError && error.kind === 'not_found')) throw error;
        const other = await overseen(id, by);
        if (!other) throw error;
        return toResource(other);
      }
    },

    async remove(id, by) {
      const owner = await database.tenant((sql) => getOwner(sql, id));
      if (owner !== undefined) {
        assertOwn(owner, by, 'document');
        return documents.remove(id);
      }
      const other = await overseen(id, by);
      if (!other) throw new AppError('not_found', 'There is no such document.');
      // In the scope of whose it is: nobody else's reaches its rows.
      const { tenantId, traceId } = currentScope();
      return runAs({ tenantId, userId: other.owner_id, traceId }, () => documents.remove(id));
    },
  };
}

export interface OwnedTasks extends Omit<Tasks, 'cancel'> {
  cancel(id: string, by: Principal): ReturnType<Tasks['cancel']>;
}

export function createOwnedTasks({ database, tasks }: { database: Database; tasks: Tasks }): OwnedTasks {
  return {
    ...tasks,
    async cancel(id, by) {
      const { document_id: documentId } = await tasks.get(id);
      const owner = documentId === null ? undefined : await database.tenant((sql) => getOwner(sql, documentId));
      if (owner !== undefined) assertOwn(owner, by, 'upload');
      return tasks.cancel(id);
    },
  };
}

export interface OwnedSources extends Omit<Sources, 'putFile' | 'remove'> {
  putFile(id: string, file: Parameters<Sources['putFile']>[1], by: Principal): ReturnType<Sources['putFile']>;
  remove(id: string, by: Principal): Promise<void>;
}

export function createOwnedSources({ database, sources }: { database: Database; sources: Sources }): OwnedSources {
  async function assertMine(id: string, by: Principal): Promise<void> {
    const owner = await database.tenant((sql: Sql) => getSourceOwner(sql, id));
    // What is not there, the service says.
    if (owner !== undefined) assertOwn(owner, by, 'source');
  }
  return {
    ...sources,
    async putFile(id, file, by) {
      await assertMine(id, by);
      return sources.putFile(id, file);
    },
    async remove(id, by) {
      await assertMine(id, by);
      return sources.remove(id);
    },
  };
}
