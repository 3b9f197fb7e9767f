/** What an attempt at an upload carries from step to step, and how it is named. */
import type { IngestAttempt } from '../../actors/upload-pipeline.ts';
import type { Chunker, TextStructure } from '../contracts/index.ts';
import type { IndexedChunk } from '../repositories/chunks-write.ts';
import type { DocumentWork } from '../repositories/documents.ts';
import type { Attempt } from '../repositories/tasks.ts';
import type { ChunkPlan } from './chunk-plan.ts';
import type { DocumentText } from './document-text.ts';
import type { Child } from './embedded-files.ts';
import type { OpenSpace } from './spaces.ts';
import type { BatchUsage, Bought } from './usage-meter.ts';

/** Everything an attempt has made so far. */
export interface Work extends IngestAttempt {
  readonly taskId: string;
  readonly begun: Attempt;
  readonly document: DocumentWork;
  structure: TextStructure;
  /** There once the document is extracted. */
  text: DocumentText | undefined;
  plan: ChunkPlan;
  /** Files inside of it that become documents when it is published. */
  children: Child[];
  /** Chunks that are written, of this attempt and earlier ones, or held. */
  written: number;
  /** The only space that this attempt has written chunks to, all of them; undefined where it was not alone in that. */
  space: OpenSpace | undefined;
  /** That embedding begins is recorded. */
  embeds: boolean;
  /** All chunks of a small document, until the transaction that publishes it writes them. */
  held: readonly IndexedChunk[] | undefined;
  /** What was bought and is not recorded yet: the next transaction does. One that fails has recorded nothing. */
  bought: readonly BatchUsage[];
}

/** Notes what was bought for the batch that begins with this chunk. */
export function noteBought(work: Work, part: number, bought: Bought): void {
  const { taskId: sourceId, attempt } = work;
  work.bought = [...work.bought, { sourceId, attempt, part, ...bought }];
}

export const namesOf = (work: Work) => ({
  document_id: work.document.id,
  task_id: work.taskId,
  title: work.document.title,
});

export const keyOf = ({ taskId, attempt }: Work) => ({ table: 'tasks' as const, id: taskId, attempt });

/** How the document is cut: as its uploader asked for, else as everybody's. */
export const chunkingOf = (work: Work, { defaults }: Pick<Chunker, 'defaults'>) => work.begun.chunking ?? defaults;

/** Another attempt owns the task, or it is gone. */
export class Superseded extends Error {}
