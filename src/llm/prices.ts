/**
 * What models cost, in US dollars for a million tokens. The defaults are OpenAI's list prices of August 2025 for text; a
 * model that is not among them, under the name it is asked by, has no known price unless `MODEL_PRICES` gives it one.
 */
export interface ModelPrice {
  /** Of what is read: prompts, and texts that are embedded. */
  readonly input: number;
  /** Of what is written. Default: 0. */
  readonly output?: number | undefined;
}

export type ModelPrices = Readonly<Record<string, ModelPrice>>;

const DEFAULTS: ModelPrices = {
  'gpt-3.5-turbo': { input: 0.5, output: 1.5 },
  'gpt-4-turbo': { input: 10, output: 30 },
  'gpt-4o': { input: 2.5, output: 10 },
  'gpt-4o-mini': { input: 0.15, output: 0.6 },
  'gpt-4.1': { input: 2, output: 8 },
  'gpt-4.1-mini': { input: 0.4, output: 1.6 },
  'gpt-4.1-nano': { input: 0.1, output: 0.4 },
  'gpt-5': { input: 1.25, output: 10 },
  'gpt-5-mini': { input: 0.25, output: 2 },
  'gpt-5-nano': { input: 0.05, output: 0.4 },
  o3: { input: 2, output: 8 },
  'o4-mini': { input: 1.1, output: 4.4 },
  'text-embedding-3-small': { input: 0.02 },
  'text-embedding-3-large': { input: 0.13 },
  'text-embedding-ada-002': { input: 0.1 },
  // Built in: nobody is paid.
  'dreamhub-extractive': { input: 0 },
  'dreamhub-hash-v1': { input: 0 },
};

export interface TokenCounts {
  /** Tokens read: of a prompt, or embedded. */
  readonly input: number;
  readonly output: number;
}

export interface Prices {
  /** Billionths of a US dollar, a whole number; null where no price is known. */
  nanosOf(model: string, tokens: TokenCounts): number | null;
}

/** `own` wins over the defaults. A dollar a million tokens is a thousand billionths a token. */
export function createPrices(own: ModelPrices = {}): Prices {
  const prices = new Map([...Object.entries(DEFAULTS), ...Object.entries(own)]);
  return {
    nanosOf(model, { input, output }) {
      const price = prices.get(model);
      return price ? Math.round((input * price.input + output * (price.output ?? 0)) * 1_000) : null;
    },
  };
}

const isPrice = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value) && value >= 0;

/** `{"model": {"input": 0.15, "output": 0.6}}`. Throws an `Error` that says what is wrong with it. */
export function parsePrices(text: string): ModelPrices {
  const parsed: unknown = JSON.parse(text);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw new Error('no JSON object');
  const prices: Record<string, ModelPrice> = {};
  for (const [model, value] of Object.entries(parsed)) {
    const { input, output, ...others } = (value ?? {}) as Record<string, unknown>;
    const isValid = isPrice(input) && (output === undefined || isPrice(output)) && Object.keys(others).length === 0;
    if (!isValid) throw new Error(`${model} needs {"input": dollars, "output": dollars} for a million tokens`);
    prices[model] = { input, output };
  }
  return prices;
}
