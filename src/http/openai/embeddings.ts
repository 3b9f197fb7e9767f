/** `POST /v1/embeddings`: vectors of texts, by the model that documents are embedded with. */
import { type Static, Type } from '@sinclair/typebox';
import { Elysia } from 'elysia';
import { textOfTokens } from '../../llm/token-text.ts';
import type { Embedding } from '../../services/embedding.ts';
import { jsonBody } from '../json-body.ts';
import { oneOf } from '../models/one-of.ts';
import { authenticated } from '../plugins/auth.ts';
import { describeOpenAi } from './documentation.ts';
import { optional, Parameters } from './parameters.ts';

/** As OpenAI's server has it. */
const MOST_INPUTS = 2_048;

const Text = Type.String({ minLength: 1 });
const Tokens = Type.Array(Type.Integer({ minimum: 0 }), { minItems: 1 });

const EmbeddingsBody = Parameters(
  {
    input: Type.Union([
      Text,
      Type.Array(Text, { minItems: 1, maxItems: MOST_INPUTS }),
      Tokens,
      Type.Array(Tokens, { minItems: 1, maxItems: MOST_INPUTS }),
    ]),
    model: Type.String({ minLength: 1, maxLength: 200 }),
    encoding_format: optional(oneOf(['float', 'base64'])),
    dimensions: optional(Type.Integer({ minimum: 1, maximum: 100_000 })),
    user: optional(Type.String()),
  },
  { example: { input: ['How many days of leave do I have?'], model: 'dreamhub-hash', dimensions: 256 } },
);
type Input = Static<typeof EmbeddingsBody>['input'];

const isTokens = (one: readonly unknown[]): one is number[] => typeof one[0] === 'number';

async function textsOf(input: Input): Promise<string[]> {
  if (typeof input === 'string') return [input];
  const several: readonly (string | number[])[] = isTokens(input) ? [input] : (input as (string | number[])[]);
  return Promise.all(several.map((one) => (typeof one === 'string' ? one : textOfTokens(one))));
}

/** Little-endian, as every machine that we run on has it. */
const base64Of = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64');

export function createOpenAiEmbeddings({ embedding }: { embedding: Embedding }) {
  return new Elysia({ name: 'openai.embeddings' }).use(authenticated).post(
    '/embeddings',
    async ({ body: { input, encoding_format: format, dimensions }, request: { signal } }) => {
      const texts = await textsOf(input);
      const { model, vectors, tokens } = await embedding.embed(texts, { dimensions: dimensions ?? undefined, signal });
      return {
        object: 'list',
        model,
        data: vectors.map((vector, index) => ({
          object: 'embedding',
          index,
          embedding: format === 'base64' ? base64Of(vector) : Array.from(vector),
        })),
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      };
    },
    {
      parse: jsonBody,
      body: EmbeddingsBody,
      detail: describeOpenAi({
        summary: 'Vectors of texts',
        description:
          'By the model of the active embedding space, whichever `model` is asked for: the answer names it. Tokens are read as those of cl100k_base. Fewer `dimensions` than the model has keep the first ones.',
        example: {
          object: 'list',
          model: 'dreamhub-hash',
          data: [{ object: 'embedding', index: 0, embedding: [0.12, -0.03] }],
          usage: { prompt_tokens: 9, total_tokens: 9 },
        },
      }),
    },
  );
}
