/**
 * How well each strategy's chunks answer real questions: the tokens of the evidence against those of the five chunks that
 * are nearest by the built-in embeddings (the measures of Smith and Troynikov, "Evaluating Chunking Strategies for
 * Retrieval", 2024). Places are exact, so every figure is an intersection of intervals.
 */
import { expect, test } from 'bun:test';
import { CHUNKING_STRATEGIES } from '../../../src/contracts/index.ts';
import { createBuiltinEmbeddings } from '../../../src/llm/builtin-embeddings.ts';
import { measureChunking } from '../../support/chunk-retrieval.ts';
import { hasChunkingData } from '../../support/documents-questions.ts';
import { printSkipped, printTable } from '../../support/documents-report.ts';

/** Of questions that are asked: every seventh, which is enough to see a chunker that got worse. */
const EVERY = 7;
/** Recall, precision and IoU, a little below what was measured; the figures are the same each time. */
const FLOOR = {
  structural: [0.74, 0.026, 0.025],
  sentence: [0.72, 0.023, 0.023],
  fixed: [0.8, 0.026, 0.026],
} as const;

if (!hasChunkingData) printSkipped('../shared/data/chunking is not here, so retrieval by chunks is not measured.');

test.skipIf(!hasChunkingData)(
  'the evidence of real questions is in the nearest chunks of every strategy',
  async () => {
    const embeddings = createBuiltinEmbeddings();
    const rows = [];
    for (const strategy of CHUNKING_STRATEGIES) {
      const figures = await measureChunking({ strategy, chunk_tokens: 400, chunk_overlap: 45 }, embeddings, {
        every: EVERY,
      });
      rows.push({ strategy, ...figures });
    }
    printTable('Evidence in the 5 nearest chunks, built-in embeddings', rows);
    for (const { strategy, recall, precision, iou } of rows) {
      const [least, leastPrecision, leastIou] = FLOOR[strategy];
      expect(recall).toBeGreaterThan(least);
      expect(precision).toBeGreaterThan(leastPrecision);
      expect(iou).toBeGreaterThan(leastIou);
    }
  },
  60_000,
);
