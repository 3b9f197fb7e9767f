/** Recall, precision and IoU of retrieved chunks against the exact places of the evidence. */
import type { Chunking, EmbeddingProvider } from '../../src/contracts/index.ts';
import { createChunkStream } from '../../src/ingest/chunk-stream.ts';
import { markdownHeadings } from '../../src/ingest/markdown-headings.ts';
import { estimatingCounter } from '../../src/ingest/token-counter.ts';
import { readCorpus, readQuestions } from './documents-questions.ts';

interface Span {
  start: number;
  end: number;
}

/** Means over questions; the union of what was retrieved counts once. */
export interface ChunkFigures {
  questions: number;
  chunks: number;
  /** Share of the evidence that was retrieved. */
  recall: number;
  /** Share of what was retrieved that is evidence. */
  precision: number;
  /** Of both, what they share, where overlaps of chunks count against them. */
  iou: number;
}

const RETRIEVED = 5;

/** `every`: asks each n-th question only; `within`: of the first so many characters of each corpus. */
export async function measureChunking(
  chunking: Chunking,
  embeddings: EmbeddingProvider,
  {
    every = 1,
    within = Number.POSITIVE_INFINITY,
    retrieved = RETRIEVED,
  }: { every?: number; within?: number; retrieved?: number } = {},
): Promise<ChunkFigures> {
  const questions = (await readQuestions())
    .filter(({ evidence }) => evidence.every(({ end }) => end <= within))
    .filter((_, at) => at % every === 0);
  const sums = { chunks: 0, recall: 0, precision: 0, iou: 0 };
  for (const [corpus, asked] of Map.groupBy(questions, (question) => question.corpus)) {
    const text = (await readCorpus(corpus)).slice(0, within);
    const stream = createChunkStream({ headings: markdownHeadings(text), pages: [] }, chunking, estimatingCounter);
    const chunks = stream.push(text).concat(stream.end());
    const passages = chunks.map(({ headings, text: own }) =>
      headings.length > 0 ? `${headings.join(' › ')}\n${own}` : own,
    );
    const vectors = await embedAll(embeddings, passages, 'document');
    const queries = await embedAll(
      embeddings,
      asked.map(({ question }) => question),
      'query',
    );
    sums.chunks += chunks.length;
    for (const [at, { evidence }] of asked.entries()) {
      const query = queries[at] ?? new Float32Array();
      const nearest = vectors
        .map((vector, chunk) => ({ chunk, score: dot(query, vector) }))
        .toSorted((a, b) => b.score - a.score)
        .slice(0, retrieved)
        .flatMap(({ chunk }) => chunks[chunk] ?? []);
      const wanted = union(evidence);
      const found = union(nearest);
      const shared = lengthOf(intersection(wanted, found));
      // Text that two chunks repeat was read twice.
      const read = nearest.reduce((sum, { start, end }) => sum + end - start, 0);
      sums.recall += shared / lengthOf(wanted);
      sums.precision += shared / read;
      sums.iou += shared / (read + lengthOf(wanted) - shared);
    }
  }
  const mean = (sum: number) => Number((sum / questions.length).toFixed(3));
  return {
    questions: questions.length,
    chunks: sums.chunks,
    recall: mean(sums.recall),
    precision: mean(sums.precision),
    iou: mean(sums.iou),
  };
}

async function embedAll(
  embeddings: EmbeddingProvider,
  texts: readonly string[],
  purpose: 'document' | 'query',
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  const { signal } = new AbortController();
  for (let at = 0; at < texts.length; at += embeddings.maxBatch) {
    vectors.push(...(await embeddings.embed(texts.slice(at, at + embeddings.maxBatch), { purpose, signal })).vectors);
  }
  return vectors;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? 0) * (b[i] ?? 0);
  return sum;
}

/** In order, without overlap. */
function union(spans: readonly Span[]): Span[] {
  const merged: Span[] = [];
  for (const { start, end } of spans.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

function intersection(a: readonly Span[], b: readonly Span[]): Span[] {
  return a.flatMap((one) =>
    b
      .map((two) => ({ start: Math.max(one.start, two.start), end: Math.min(one.end, two.end) }))
      .filter(({ start, end }) => start < end),
  );
}

const lengthOf = (spans: readonly Span[]): number => spans.reduce((sum, { start, end }) => sum + end - start, 0);
