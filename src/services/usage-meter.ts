/** Makes records of what was bought of models, with what it costs, for the transactions of the work that bought it. */
import type { Sql } from '../db/database.ts';
import type { Prices } from '../llm/prices.ts';
import { recordUsage } from '../repositories/usage.ts';

/** Vectors that were bought, of one batch. */
export interface Bought {
  readonly model: string;
  readonly tokens: number;
  /** The provider did not say how many. */
  readonly counted: boolean;
}

/** A batch of an attempt; `part` is the ordinal of its first chunk. */
export interface BatchUsage extends Bought {
  readonly sourceId: string;
  readonly attempt: number;
  readonly part: number;
}

export interface AnswerTokens {
  readonly model: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

export interface AnswerUsage extends AnswerTokens {
  readonly turnId: string;
  readonly attempt: number;
  /** The provider did not say how many. */
  readonly counted: boolean;
}

export interface UsageMeter {
  /** US dollars; 0 where no price is known, as turns tell it. */
  costOf(answer: AnswerTokens): number;
  /** In the transaction that ends the attempt. */
  answered(sql: Sql, answer: AnswerUsage): Promise<void>;
  /** In the transaction that writes what was bought. */
  embedded(sql: Sql, batches: readonly BatchUsage[]): Promise<void>;
}

export function createUsageMeter({ prices }: { prices: Prices }): UsageMeter {
  const nanosOf = ({ model, promptTokens: input, completionTokens: output }: AnswerTokens) =>
    prices.nanosOf(model, { input, output });

  return {
    costOf: (answer) => (nanosOf(answer) ?? 0) / 1e9,
    answered: (sql, { turnId, ...answer }) =>
      recordUsage(sql, [
        { ...answer, sourceId: turnId, part: 0, embeddingTokens: 0, costNanos: nanosOf({ ...answer }) },
      ]),
    embedded: (sql, batches) =>
      recordUsage(
        sql,
        batches.map(({ tokens, ...batch }) => ({
          ...batch,
          promptTokens: 0,
          completionTokens: 0,
          embeddingTokens: tokens,
          costNanos: prices.nanosOf(batch.model, { input: tokens, output: 0 }),
        })),
      ),
  };
}
