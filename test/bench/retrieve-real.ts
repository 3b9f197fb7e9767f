/**
 * Recall on vectors of a real model, where an OpenAI-compatible server is given by EMBEDDING_BASE_URL (and
 * EMBEDDING_API_KEYS, EMBEDDING_MODEL): the sentences of ../shared/data are the chunks, its questions the queries. Says so
 * where it leaves this out.
 */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/kernel/clock.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createOpenAiEmbeddings } from '../../src/llm/openai-embeddings.ts';
import { loadTenants, type VectorTenant } from '../support/vector-tenants.ts';
import { askedCold, compare, install, questionOf } from './retrieve-tenants.ts';
import type { Row } from './support/benchmark.ts';

const DATA = fileURLToPath(new URL('../../../shared/data/', import.meta.url));
const MOST_SENTENCES = 4_000;
const QUESTIONS = 200;
/** A small model on a busy machine still answers in time. */
const EMBEDDED_AT_ONCE = 16;

interface Squad {
  data: { paragraphs: { context: string; qas: { question: string }[] }[] }[];
}

const sentencesOf = (text: string): string[] =>
  text
    .split(/(?<=[.!?。！？])\s*|\n+/u)
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence.length >= 20);

async function readTexts(): Promise<{ sentences: string[]; questions: string[] }> {
  const [sentences, questions]: [string[], string[]] = [[], []];
  for (const language of ['en', 'zh']) {
    const { data } = (await Bun.file(`${DATA}xquad/xquad.${language}.json`).json()) as Squad;
    for (const { context, qas } of data.flatMap(({ paragraphs }) => paragraphs)) {
      sentences.push(...sentencesOf(context));
      questions.push(...qas.map(({ question }) => question));
    }
  }
  const folder = `${DATA}chunking/`;
  for (const name of (await readdir(folder, { recursive: true })).filter((one) => /\.(md|txt)$/.test(one)).sort()) {
    sentences.push(...sentencesOf(await Bun.file(`${folder}${name}`).text()));
  }
  const step = Math.ceil(questions.length / QUESTIONS);
  return {
    sentences: [...new Set(sentences)].slice(0, MOST_SENTENCES),
    questions: questions.filter((_, i) => i % step === 0),
  };
}

export async function realRows(progress: (line: string) => void): Promise<Row[]> {
  const { EMBEDDING_BASE_URL: baseUrl, EMBEDDING_API_KEYS: keys, EMBEDDING_MODEL: model } = process.env;
  if (!baseUrl || !existsSync(DATA)) {
    progress('SKIPPED: recall on a real model needs EMBEDDING_BASE_URL and ../shared/data');
    return [];
  }
  const provider = createOpenAiEmbeddings({
    baseUrl,
    apiKeys: [keys ?? 'none'],
    model: model ?? 'embedding',
    clock: systemClock,
    logger: silentLogger,
  });
  const signal = new AbortController().signal;
  await provider.prepare(signal);
  const { sentences, questions } = await readTexts();
  progress(`embedding ${sentences.length} sentences and ${questions.length} questions by ${provider.model}`);
  const embed = async (texts: readonly string[], purpose: 'document' | 'query') => {
    const vectors: Float32Array[] = [];
    for (let i = 0; i < texts.length; i += EMBEDDED_AT_ONCE) {
      vectors.push(...(await provider.embed(texts.slice(i, i + EMBEDDED_AT_ONCE), { purpose, signal })).vectors);
    }
    return vectors;
  };
  const passages = await embed(sentences, 'document');
  const asked = (await embed(questions, 'query')).map(questionOf);
  const { dimensions } = provider;
  await using installation = await install(dimensions);
  let i = 0;
  const topics = { dimensions, vector: () => passages[i++] ?? new Float32Array(dimensions) };
  const { adminUrl, space, admin } = installation;
  const [tenant] = (await loadTenants([passages.length], { adminUrl, spaceId: space.id, topics })) as [VectorTenant];
  const rows: Row[] = [];
  for (const [name, bounds] of [
    ['codes', { bits: 1_000, indexed: 1e9 }],
    ['graph', { bits: 1_000, indexed: 1_000 }],
  ] as const) {
    await installation.settle(bounds);
    const [tier] = await admin<{ tier: string; candidates: number; recall: number }[]>`
      select tier, candidates, recall from vector_tiers`;
    const { recall, short } = await compare(installation, tenant, asked, askedCold(installation, tenant));
    const label = `${provider.model}, ${dimensions} dimensions, ${passages.length} sentences, ${name} (${tier?.tier}, ${tier?.candidates} candidates)`;
    rows.push({ label: `${label}: recall@10`, unit: 'ratio', values: [recall], target: { atLeast: 0.99 } });
    rows.push({ label: `${label}: fewer rows than exact`, unit: 'of them', values: [short], target: { atMost: 0 } });
  }
  return rows;
}
