/** What an attempt at a turn has used of a model: as the provider says it with its answer, else as we count it. */
import type { Sql } from '../db/database.ts';
import { textOf, type Work } from './answering-work.ts';
import type { UsageMeter } from './usage-meter.ts';

/**
 * Settles the usage of an attempt that ends, whatever way, in `work.usage`; returns what records it, in the transaction that
 * ends the attempt. An answer that was cut off before its first word is taken for unbilled.
 */
export function settleUsage(work: Work, meter: UsageMeter): (sql: Sql) => Promise<void> {
  const { asked, turnId, attempt } = work;
  const text = textOf(work);
  if (!asked || (asked.told === undefined && text === '')) return async () => undefined;
  const { model, countTokens } = asked;
  if (asked.told === undefined) {
    const read = [
      work.begun.question,
      ...work.history.map(({ content }) => content),
      ...work.passages.map(({ passage }) => passage.text),
    ];
    work.usage = {
      prompt_tokens: read.reduce((sum, part) => sum + countTokens(part), 0),
      completion_tokens: countTokens(text),
      cost: 0,
    };
  }
  const tokens = {
    model,
    promptTokens: work.usage.prompt_tokens,
    completionTokens: work.usage.completion_tokens,
  };
  work.usage = { ...work.usage, cost: meter.costOf(tokens) };
  const counted = asked.told?.counted ?? true;
  return (sql) => meter.answered(sql, { ...tokens, turnId, attempt, counted });
}
