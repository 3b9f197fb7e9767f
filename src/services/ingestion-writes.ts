/** What an attempt writes: its stage and its chunks, each held against a newer attempt, and what readers are told. */
import type { Database, Sql } from '../db/database.ts';
import { type IndexedChunk, insertChunks } from '../repositories/chunks-write.ts';
import { recordProgress } from '../repositories/tasks.ts';
import type { IngestionAnnouncements } from './ingestion-announcements.ts';
import { Superseded, type Work } from './ingestion-work.ts';
import type { OpenSpace } from './spaces.ts';

/** The most chunks of one batch: what a crash may buy twice. */
export const MAX_BATCH = 128;
/** How far a task is when a stage begins; embedding moves through the span up to publishing. */
export const STAGE_PROGRESS = { extracting: 0.05, chunking: 0.15, embedding: 0.2, publishing: 0.95 } as const;
export type Stage = keyof typeof STAGE_PROGRESS;

export interface IngestionWritesOptions {
  database: Pick<Database, 'copies'>;
  announcements: Pick<IngestionAnnouncements, 'announceProgress'>;
}

/** How far an attempt is, as its task's row and its topic say it. */
export function stageOf(work: Work, stage: Stage) {
  const chunksTotal = work.plan.size > 0 ? work.plan.size : null;
  const progress = stage === 'embedding' ? embeddingProgress(work) : STAGE_PROGRESS[stage];
  return { stage, progress, chunksDone: work.written, chunksTotal };
}

function embeddingProgress({ plan, written }: Work): number {
  const share = plan.size === 0 ? 1 : written / plan.size;
  return STAGE_PROGRESS.embedding + share * (STAGE_PROGRESS.publishing - STAGE_PROGRESS.embedding);
}

export function createIngestionWrites({ database, announcements }: IngestionWritesOptions) {
  return {
    /**
     * Whatever is written of an attempt comes after this in one transaction: a newer attempt begins after it, or fails
     * it with `Superseded`.
     */
    async recordStage(sql: Sql, work: Work, stage: Stage, update = stageOf(work, stage)): Promise<void> {
      if (!(await recordProgress(sql, work.taskId, work.attempt, update))) throw new Superseded();
    },

    announceStage: (work: Work, stage: Stage) => announcements.announceProgress(work, stageOf(work, stage)),

    /** Writes a batch of the version, in the caller's transaction, if `hold` holds the task. */
    writeChunks: (
      sql: Sql,
      work: Work,
      space: OpenSpace,
      rows: readonly IndexedChunk[],
      hold: () => Promise<boolean>,
    ): Promise<boolean> =>
      insertChunks(
        sql,
        {
          documentId: work.document.id,
          version: work.begun.document_version,
          privateTo: work.document.private_to,
          spaceId: space.id,
        },
        rows,
        database.copies,
        hold,
      ),
  };
}

export type IngestionWrites = ReturnType<typeof createIngestionWrites>;
