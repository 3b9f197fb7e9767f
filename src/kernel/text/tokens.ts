/**
 * How many tokens a text takes in a language model, near enough to cut and to budget with. Exact counting needs a model's
 * own vocabulary, and the server behind an OpenAI-compatible address may use any. A sum over characters, so that costs of
 * pieces add up and cutting is linear; weights were fitted to o200k and cl100k: within 5 % of both on English prose,
 * between the two (which differ by a factor of two) for other languages, up to a third too low for tables of numbers.
 */

/** Hundredths of a token, for each UTF-16 code unit. */
const COST = buildTable();

/**
 * In hundredths of a token. Additive: the cost of a text is the sum of the costs of its parts. (No defaults: where they are
 * used the loop takes seven times as long.)
 */
export function tokenCost(text: string, start: number, end: number): number {
  let sum = 0;
  for (let i = start; i < end; i++) sum += COST[text.charCodeAt(i)] ?? 100;
  return sum;
}

/** In hundredths of a token, of one code unit. */
export function unitCost(code: number): number {
  return COST[code] ?? 100;
}

/** Estimated tokens of a text: one pass, no allocation. */
export function estimateTokens(text: string): number {
  return Math.ceil(tokenCost(text, 0, text.length) / 100);
}

function buildTable(): Uint8Array {
  const table = new Uint8Array(0x10000).fill(100);
  const set = (from: number, to: number, cost: number) => table.fill(cost, from, to + 1);
  set(0x00, 0x20, 30);
  set(0x20, 0x20, 5);
  set(0x21, 0x7e, 80);
  set(0x30, 0x39, 50);
  set(0x41, 0x5a, 24);
  set(0x61, 0x7a, 22);
  set(0xa0, 0xa0, 30);
  // Latin with marks, Greek, Cyrillic, Hebrew, Arabic; then scripts that tokenizers know less of.
  set(0xc0, 0x24f, 60);
  set(0x300, 0x36f, 60);
  set(0x370, 0x6ff, 45);
  set(0x400, 0x52f, 27);
  set(0x900, 0x1fff, 80);
  set(0x3041, 0x30ff, 75);
  set(0x3400, 0x9fff, 85);
  set(0xac00, 0xd7af, 68);
  return table;
}
