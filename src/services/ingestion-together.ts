/**
 * What attempts do in company, before they are published: those that come at about the same time share a transaction and,
 * where they are of one scope, its statements.
 */
import type { Database } from '../db/database.ts';
import { createGroupCommit, withinScopes } from '../db/group-commit.ts';
import type { Clock } from '../kernel/clock.ts';
import { knownEmbeddings } from '../repositories/chunks-write.ts';
import type { DocumentWork } from '../repositories/documents.ts';
import { type BegunAttempt, beginAttempts, openDocuments } from '../repositories/task-attempts.ts';
import { type Attempt, type AttemptProgress, recordProgresses } from '../repositories/tasks.ts';

export interface IngestionTogetherOptions {
  database: Pick<Database, 'together'>;
  clock: Clock;
  /** How long an attempt owns its task without a sign of life. */
  leaseMs: number;
  /** Of the stage that an attempt begins with, in 0…1. */
  firstProgress: number;
}

export interface FirstLookup extends AttemptProgress {
  readonly spaceId: number;
  /** Hashes of texts (hex). */
  readonly keys: readonly string[];
}

/** Lookups of one statement: each has up to a batch of texts. */
const MOST_LOOKUPS = 16;

export function createIngestionTogether({ database, clock, leaseMs, firstProgress }: IngestionTogetherOptions) {
  const begin = createGroupCommit<{ id: string }, { attempt: Attempt; document: DocumentWork }>({
    database,
    clock,
    async run(shared, members) {
      const how = { leaseMs, progress: firstProgress };
      const attempts = await shared.system((sql) => beginAttempts(sql, members, how));
      const begun = members.flatMap(({ scope, item }, place) => {
        const attempt = attempts[place];
        return attempt ? [{ scope, item: { ...attempt, id: item.id } satisfies BegunAttempt, attempt, place }] : [];
      });
      const documents = await withinScopes(shared, begun, openDocuments);
      const results = new Array<{ attempt: Attempt; document: DocumentWork } | undefined>(members.length).fill(
        undefined,
      );
      for (const [at, { attempt, place }] of begun.entries()) {
        const document = documents[at];
        if (document) results[place] = { attempt, document };
      }
      return results;
    },
  });

  const lookUp = createGroupCommit<FirstLookup, Map<string, Uint8Array>>({
    database,
    clock,
    most: MOST_LOOKUPS,
    apart: true,
    run: (shared, members) =>
      withinScopes(shared, members, async (sql, lookups) => {
        const spaces = Map.groupBy(lookups, ({ spaceId }) => spaceId);
        // Sent together: nothing is read of what another attempt owns, since only what is recorded is returned.
        const [recorded, ...found] = await Promise.all([
          recordProgresses(sql, lookups),
          ...[...spaces].map(async ([spaceId, own]) => {
            const keys = new Set(own.flatMap((lookup) => lookup.keys));
            return [spaceId, await knownEmbeddings(sql, spaceId, [...keys])] as const;
          }),
        ]);
        const known = new Map(found);
        return lookups.map(({ spaceId, keys }, place) => {
          if (!recorded[place]) return undefined;
          const vectors = known.get(spaceId);
          return new Map(keys.flatMap((key) => ownOf(vectors, key)));
        });
      }),
  });

  return {
    /** Takes the next fencing number of a task and opens its document; undefined where there is nothing to begin. */
    begin: (taskId: string) => begin({ id: taskId }),

    /**
     * Which of the texts the scope has vectors for; records with it how far the attempt is, before anything is bought.
     * Undefined where another attempt owns the task by now.
     */
    lookUp,
  };
}

function ownOf(vectors: ReadonlyMap<string, Uint8Array> | undefined, key: string): [string, Uint8Array][] {
  const vector = vectors?.get(key);
  return vector ? [[key, vector]] : [];
}
