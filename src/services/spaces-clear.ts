/** Removes what retired spaces have left: their partitions, and the chunks, texts and postings that only their cut showed. */
import type { BlobStore } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { dropSpace } from '../db/spaces.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import {
  forgetRetired,
  listAbandoned,
  listLeftCuts,
  listOfCut,
  listSegmentsOfCut,
  listSpaces,
  markCleared,
  type Place,
} from '../repositories/spaces.ts';
import { dropSegmentsOfCut, dropVersion, leaveCut } from '../repositories/spaces-cuts.ts';
import { textKey } from '../storage/blob-keys.ts';

export interface SpaceClearing {
  database: Database;
  blobs: Pick<BlobStore, 'remove'>;
}

const ROWS_AT_ONCE = 5_000;
const DOCUMENTS_AT_ONCE = 200;
const NOBODY = '00000000-0000-0000-0000-000000000000';

const within = <T>({ tenantId, privateTo }: Pick<Place, 'tenantId' | 'privateTo'>, run: () => Promise<T>): Promise<T> =>
  runAs({ tenantId, userId: privateTo ?? NOBODY, traceId: newTraceId() }, run);

export function createSpaceClearing({ database, blobs }: SpaceClearing) {
  /** False where somebody reads it this moment. */
  async function clearSpace(id: number): Promise<boolean> {
    if (!(await dropSpace(database, id))) return false;
    while ((await database.system((sql) => forgetRetired(sql, id, ROWS_AT_ONCE))) > 0);
    return true;
  }

  async function clearCut(cut: number): Promise<void> {
    let after: Place | undefined;
    do {
      const from = after;
      const places = await database.system((sql) => listOfCut(sql, cut, { after: from, limit: DOCUMENTS_AT_ONCE }));
      for (const place of places) {
        await within(place, async () => {
          const unseen = await database.tenant((sql) => leaveCut(sql, place.documentId, cut));
          if (unseen !== undefined) await blobs.remove(textKey(place.documentId, unseen));
        });
      }
      after = places.at(-1);
    } while (after);
    for (const audience of await database.system((sql) => listSegmentsOfCut(sql, cut))) {
      await within(audience, () => database.tenant((sql) => dropSegmentsOfCut(sql, cut)));
    }
  }

  async function clearAbandoned(): Promise<void> {
    for (;;) {
      const versions = await database.system((sql) => listAbandoned(sql, DOCUMENTS_AT_ONCE));
      for (const place of versions) {
        await within(place, async () => {
          await database.tenant((sql) => dropVersion(sql, place.documentId, place.version));
          await blobs.remove(textKey(place.documentId, place.version));
        });
      }
      if (versions.length < DOCUMENTS_AT_ONCE) return;
    }
  }

  /** Goes on where it was cut off; what is busy is left for the next time. */
  return async (): Promise<void> => {
    const retired = (await database.system(listSpaces)).filter(({ state }) => state === 'retired');
    const busy = new Set<number>();
    for (const { id, cut } of retired) if (!(await clearSpace(id))) busy.add(cut);
    for (const cut of await database.system(listLeftCuts)) {
      if (busy.has(cut)) continue;
      await clearCut(cut);
      await clearAbandoned();
      await database.system((sql) => markCleared(sql, cut));
    }
  };
}
