/** What is known of models by name: context window and list price. Others get a careful default and cost 0. */
import * as catalogue from 'gpt-tokenizer/models';
import { createPrices } from './prices.ts';

export interface ModelFacts {
  /** Tokens of prompt and answer together. */
  readonly contextTokens: number;
  /** US dollars of so many tokens; 0 where no price is known. */
  cost(promptTokens: number, completionTokens: number): number;
}

/** What a small local model can be trusted to read. */
const UNKNOWN_CONTEXT = 8_192;
/** A longer prompt costs more than it helps. */
const LARGEST_CONTEXT = 128_000;

interface CatalogueEntry {
  readonly context_window?: number;
}

const listed = createPrices();

const isEntry = (value: unknown): value is CatalogueEntry => typeof value === 'object' && value !== null;

const entries = new Map<string, CatalogueEntry>();
for (const [name, value] of Object.entries<unknown>({ ...catalogue })) if (isEntry(value)) entries.set(name, value);

export function factsOf(model: string): ModelFacts {
  const entry = entries.get(model);
  return {
    contextTokens: Math.min(entry?.context_window ?? UNKNOWN_CONTEXT, LARGEST_CONTEXT),
    cost: (input, output) => (listed.nanosOf(model, { input, output }) ?? 0) / 1e9,
  };
}
