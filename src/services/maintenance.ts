/**
 * What an installation does not need done every minute: tenants' vectors are brought together on disk where they lie
 * scattered among others', what was moved and deleted is vacuumed, and the planner's statistics are made anew. It may run
 * beside everything else, and be broken off at any time.
 */
import type { Database } from '../db/database.ts';
import { newTraceId, runAs } from '../kernel/context.ts';
import type { Logger } from '../kernel/logger.ts';
import { listSpaces } from '../repositories/spaces.ts';
import { measureSpread, rewriteVectors, type Spread } from '../repositories/vector-rows.ts';
import { listOwners, listTierStates } from '../repositories/vector-tiers.ts';
import type { VectorTiers } from './vector-tiers.ts';

export interface MaintenanceReport {
  /** Tenants that were moved between the ways of searching vectors. */
  settled: number;
  /** Tenants (in a space) whose rows were brought together, and how many rows. */
  regrouped: number;
  rows: number;
  /** Tables that were vacuumed. */
  vacuumed: number;
}

export interface MaintenanceOptions {
  database: Database;
  tiers: Pick<VectorTiers, 'settle'>;
  logger: Logger;
}

/** Tenants with fewer rows are not worth it. */
const LEAST_ROWS = 50;
/** Rows on so many times the pages that they need are scattered. */
const SCATTERED = 1.5;
const DOCUMENTS_AT_ONCE = 50;
const NOBODY = '00000000-0000-0000-0000-000000000000';

const isScattered = ({ rows, pages, least }: Spread) => rows >= LEAST_ROWS && pages > least * SCATTERED;

export function createMaintenance({ database, tiers, logger }: MaintenanceOptions) {
  /** Rewrites what the scope sees of a space where it lies scattered; returns the rows. */
  async function regroup(spaceId: number, signal: AbortSignal): Promise<number> {
    const spread = await database.tenant((sql) => measureSpread(sql, spaceId));
    if (!isScattered(spread)) return 0;
    let rows = 0;
    for (let after: string | undefined, more = true; more; ) {
      signal.throwIfAborted();
      const from = after;
      const batch = await database.tenant((sql) =>
        rewriteVectors(sql, spaceId, { after: from, documents: DOCUMENTS_AT_ONCE }),
      );
      rows += batch.chunks;
      after = batch.last;
      more = batch.documents === DOCUMENTS_AT_ONCE;
    }
    return rows;
  }

  async function regroupAll(signal: AbortSignal): Promise<{ regrouped: number; rows: number }> {
    let [regrouped, rows] = [0, 0];
    for (const { tenantId, spaceId } of await database.system((sql) => listTierStates(sql, LEAST_ROWS))) {
      let own = 0;
      for (const { owner } of await database.system((sql) => listOwners(sql, { tenantId, spaceId }))) {
        const scope = { tenantId, userId: owner ?? NOBODY, traceId: newTraceId() };
        own += await runAs(scope, () => regroup(spaceId, signal));
      }
      if (own > 0) regrouped += 1;
      rows += own;
    }
    return { regrouped, rows };
  }

  async function vacuum(): Promise<number> {
    if (!database.maintain) {
      logger.info('not vacuumed: the server’s own autovacuum has to do here');
      return 0;
    }
    const spaces = (await database.system(listSpaces)).filter(({ state }) => state !== 'retired');
    const tables = [
      ...spaces.flatMap(({ id }) => [`chunk_vectors_s${id}`, `chunk_codes_s${id}`]),
      'document_spaces',
      'documents',
      'chunks',
    ];
    await database.maintain(tables.map((table) => `vacuum (analyze) ${table}`));
    return tables.length;
  }

  return {
    async run(signal: AbortSignal = new AbortController().signal): Promise<MaintenanceReport> {
      const settled = await tiers.settle(signal);
      const { regrouped, rows } = await regroupAll(signal);
      return { settled, regrouped, rows, vacuumed: await vacuum() };
    },
  };
}
