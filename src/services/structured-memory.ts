/**
 * Facts that a user notes by key, for the own chats to know. Each has a version; who changes or removes one may name the
 * version that was seen, and is refused where it is another by now.
 */
import type { Page, PageRequest, StructuredMemory } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import { lockRoles } from '../repositories/memberships.ts';
import {
  deleteMemory,
  getMemory,
  insertMemory,
  listMemories,
  type MemoryValue,
  measureMemories,
  updateMemory,
} from '../repositories/structured-memories.ts';
import { encodeTextCursor, textCursor, toPage } from './paging.ts';

export interface StructuredMemories {
  list(page: PageRequest): Promise<Page<StructuredMemory>>;
  get(key: string): Promise<StructuredMemory>;
  /** Throws `conflict` where there is one of this key, or where there are too many. */
  create(fact: { key: string; value: unknown }): Promise<StructuredMemory>;
  /** `version`: the one that was seen; throws `conflict` where it is another by now. */
  replace(key: string, value: unknown, version?: number): Promise<StructuredMemory>;
  remove(key: string, version?: number): Promise<void>;
}

export const MOST_FACTS = 200;
/** Bytes of a value as JSON, and of all of a user's values together: every answer reads them. */
export const MOST_VALUE_BYTES = 4_096;
export const MOST_BYTES = 65_536;
/** Letters, marks and digits of any script; `. _ : -` between them. */
const KEY = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._:-]{0,99}$/u;

const notFound = () => new AppError('not_found', 'There is no fact of this key.');

function invalid(path: string, message: string): AppError {
  return new AppError('invalid_request', `${message}.`, { errors: [{ path, message }] });
}

/** One form of a key, however its accents were typed. */
const normal = (key: string): string => key.normalize('NFC');

function measured(key: string, value: unknown): MemoryValue {
  const bytes = Buffer.byteLength(JSON.stringify(value) ?? '');
  if (bytes === 0) throw invalid('/value', 'Expected a JSON value');
  if (bytes > MOST_VALUE_BYTES) throw invalid('/value', `A value has at most ${MOST_VALUE_BYTES} bytes as JSON`);
  return { key, value, bytes };
}

export function createStructuredMemories({ database }: { database: Database }): StructuredMemories {
  /** Whoever else changes this user's facts waits. */
  async function assertRoom(sql: Sql, { key, bytes }: MemoryValue): Promise<void> {
    await lockRoles(sql, [currentScope().userId]);
    const others = await measureMemories(sql, key);
    if (others.count >= MOST_FACTS) throw new AppError('conflict', `A user has at most ${MOST_FACTS} facts.`);
    if (others.bytes + bytes > MOST_BYTES)
      throw new AppError('conflict', `A user's facts have at most ${MOST_BYTES} bytes together.`);
  }

  async function assertSeen(sql: Sql, key: string, version: number | undefined): Promise<void> {
    const now = await getMemory(sql, key, { locked: true });
    if (!now) throw notFound();
    if (version !== undefined && version !== now.version)
      throw new AppError('conflict', `The fact was changed meanwhile: it has the version ${now.version}.`);
  }

  return {
    async list({ limit, cursor }) {
      const after = textCursor(cursor);
      if (after !== undefined && !KEY.test(after))
        throw invalid('cursor', 'The cursor is not one that this list gave out');
      const rows = await database.read((sql) => listMemories(sql, { limit: limit + 1, after }));
      return toPage(rows, limit, { cursor: ({ key }) => encodeTextCursor(key), item: (row) => row });
    },

    async get(key) {
      const fact = await database.read((sql) => getMemory(sql, normal(key)));
      if (!fact) throw notFound();
      return fact;
    },

    async create({ key: typed, value }) {
      const key = normal(typed);
      if (!KEY.test(key)) {
        throw invalid('/key', 'A key begins with a letter or digit; letters, digits and . _ : - follow, 100 in all');
      }
      const fact = measured(key, value);
      const made = await database.tenant(async (sql) => {
        await assertRoom(sql, fact);
        return insertMemory(sql, fact);
      });
      if (!made) throw new AppError('conflict', 'There is a fact of this key already: change it by PUT.');
      return made;
    },

    async replace(typed, value, version) {
      const fact = measured(normal(typed), value);
      const changed = await database.tenant(async (sql) => {
        await assertRoom(sql, fact);
        await assertSeen(sql, fact.key, version);
        return updateMemory(sql, fact);
      });
      if (!changed) throw notFound();
      return changed;
    },

    async remove(typed, version) {
      const key = normal(typed);
      await database.tenant(async (sql) => {
        await assertSeen(sql, key, version);
        await deleteMemory(sql, key);
      });
    },
  };
}
