/** What a strategy means to the chunker: sizes, and how much of the text's structure decides where it is cut. */
import { CHUNK_TOKENS, CHUNKING_STRATEGIES, type Chunking, type ChunkingStrategy } from '../contracts/index.ts';
import { AppError, type FieldError } from '../kernel/errors.ts';
import { CUT, type Cut } from './chunk-units.ts';

/** Sizes in hundredths of a token. */
export interface ChunkRules {
  /** No chunk is longer. */
  max: number;
  /** From here on a structural chunk ends with its paragraph. */
  target: number;
  /** The most that is repeated. */
  overlap: number;
  /** Smaller sections are put together with the next. */
  min: number;
  /** The best kind of place that is looked for. */
  best: Cut;
}

export const DEFAULT_CHUNKING: Chunking = { strategy: 'structural', chunk_tokens: 400, chunk_overlap: 45 };

const TARGET_SHARE = 0.75;
const MIN_SHARE = 0.2;
const BEST: Readonly<Record<ChunkingStrategy, Cut>> = {
  structural: CUT.section,
  sentence: CUT.sentence,
  fixed: CUT.inside,
};

export function rulesOf({ strategy, chunk_tokens, chunk_overlap }: Chunking): ChunkRules {
  const max = chunk_tokens * 100;
  return { max, target: max * TARGET_SHARE, overlap: chunk_overlap * 100, min: max * MIN_SHARE, best: BEST[strategy] };
}

/** What a person asked for, as the form or the body named it. */
export interface ChunkingChoice {
  strategy?: string | undefined;
  chunk_tokens?: number | undefined;
  chunk_overlap?: number | undefined;
}

/** Null where nothing was chosen. Adds what is wrong to `errors`, under the name that the choice has at the caller's. */
export function readChunking(choice: ChunkingChoice, errors: FieldError[], strategyPath = 'strategy'): Chunking | null {
  const { strategy = DEFAULT_CHUNKING.strategy, chunk_tokens: tokens = DEFAULT_CHUNKING.chunk_tokens } = choice;
  if (Object.values(choice).every((value) => value === undefined)) return null;
  const known = CHUNKING_STRATEGIES.find((one) => one === strategy);
  if (!known) errors.push({ path: strategyPath, message: `one of ${CHUNKING_STRATEGIES.join(', ')}` });
  const { minimum, maximum } = CHUNK_TOKENS;
  if (!Number.isInteger(tokens) || tokens < minimum || tokens > maximum) {
    errors.push({ path: 'chunk_tokens', message: `a whole number from ${minimum} to ${maximum}` });
  }
  const usual = Math.round((tokens * DEFAULT_CHUNKING.chunk_overlap) / DEFAULT_CHUNKING.chunk_tokens);
  const overlap = choice.chunk_overlap ?? usual;
  if (!Number.isInteger(overlap) || overlap < 0 || overlap > tokens / 2) {
    errors.push({ path: 'chunk_overlap', message: 'a whole number from 0 to half of chunk_tokens' });
  }
  return { strategy: known ?? DEFAULT_CHUNKING.strategy, chunk_tokens: tokens, chunk_overlap: overlap };
}

/** Throws `internal` for sizes that nobody may have let through. */
export function assertChunking(chunking: Chunking): void {
  const errors: FieldError[] = [];
  readChunking(chunking, errors);
  if (errors.length > 0) throw new AppError('internal', `Chunks of ${JSON.stringify(chunking)} cannot be made.`);
}
