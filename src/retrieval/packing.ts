/** Chooses the passages that go into a prompt: the best ones that fit, none twice, not all from one document. */
import { lexemes } from '../kernel/text/lexemes.ts';
import { stripInvisible } from '../kernel/text/normalise.ts';
import { sentences } from '../kernel/text/sentences.ts';

export interface Packable {
  readonly document_id: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly score: number;
}

export interface PackOptions {
  /** Tokens that all passages together may take. */
  budgetTokens: number;
  countTokens(text: string): number;
  /** The most passages; default 12. */
  max?: number;
}

export interface Packed<T> {
  readonly hit: T;
  /** What the model reads: without invisible characters, and cut at a sentence where only a part fitted. */
  readonly text: string;
  readonly tokens: number;
}

/** Chunks of one document that share so much of the shorter one say the same. */
const SAME_PLACE = 0.5;
/** What a passage loses for each one already taken from its document: diversity without losing a clear winner. */
const AGAIN = 0.06;
/** Title, number and fence around a passage. */
const FRAME_TOKENS = 24;
/** A remainder of the budget below this is not worth a torn passage. */
const LEAST_TOKENS = 60;

/** Passages in order of score, best first. Deterministic: ties keep the order of `hits`. */
export function packPassages<T extends Packable>(
  hits: readonly T[],
  { budgetTokens, countTokens, max = 12 }: PackOptions,
): Packed<T>[] {
  const taken: Packed<T>[] = [];
  const words = new Map<T, string>();
  const wordsOf = (hit: T): string => {
    const known = words.get(hit) ?? lexemes(hit.text).join(' ');
    words.set(hit, known);
    return known;
  };
  const waiting = new Set(hits);
  let left = budgetTokens;
  while (waiting.size > 0 && taken.length < max && left >= LEAST_TOKENS) {
    const next = bestOf(waiting, taken);
    waiting.delete(next);
    if (taken.some(({ hit }) => samePlace(hit, next) || sameWords(wordsOf(hit), wordsOf(next)))) continue;
    const packed = fit(next, left - FRAME_TOKENS, countTokens);
    if (!packed) continue;
    taken.push(packed);
    left -= packed.tokens + FRAME_TOKENS;
  }
  const order = new Map(hits.map((hit, index) => [hit, index]));
  return taken.sort((a, b) => b.hit.score - a.hit.score || (order.get(a.hit) ?? 0) - (order.get(b.hit) ?? 0));
}

export interface Neighbour {
  /** The chunk that it is next to. */
  readonly of: string;
  readonly chunk_id: string;
  readonly page: number | null;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

export interface Widened<T> extends Packed<T> {
  /** The stored chunks that the text is made of, the found one first. */
  readonly chunks: readonly [Omit<Neighbour, 'of'>, ...Omit<Neighbour, 'of'>[]];
}

/** What two chunks that follow each other may have between them: blanks, which belong to neither. */
const GAP = 200;

/**
 * Passages together with the chunks next to them, best first, as far as the budget of all reaches: an answer often stands
 * a sentence outside of what matched. Chunks that are passages themselves are not repeated; what neighbours overlap by is
 * said once. A passage that was cut to fit stays as it is.
 */
export function withNeighbours<T extends Packable & { readonly chunk_id: string; readonly page: number | null }>(
  packed: readonly Packed<T>[],
  neighbours: readonly Neighbour[],
  { budgetTokens, countTokens }: Pick<PackOptions, 'budgetTokens' | 'countTokens'>,
): Widened<T>[] {
  const used = new Set(packed.map(({ hit }) => hit.chunk_id));
  let left = budgetTokens - packed.reduce((sum, { tokens }) => sum + tokens + FRAME_TOKENS, 0);
  return packed.map((one) => {
    const { hit } = one;
    const chunks: Widened<T>['chunks'] = [hit];
    const whole = stripInvisible(hit.text).trim();
    if (one.text !== whole) return { ...one, chunks };
    const joined = [...chunks];
    let { text } = one;
    for (const next of neighbours) {
      if (next.of !== hit.chunk_id || used.has(next.chunk_id)) continue;
      const isBefore = next.start < hit.start;
      const fresh = isBefore
        ? next.text.slice(0, Math.max(0, hit.start - next.start))
        : next.text.slice(Math.max(0, hit.end - next.start));
      const gap = isBefore ? hit.start - next.end : next.start - hit.end;
      const added = stripInvisible(fresh).trim();
      const tokens = countTokens(added);
      if (added === '' || gap > GAP || tokens > left) continue;
      used.add(next.chunk_id);
      left -= tokens;
      joined.push(next);
      text = isBefore ? `${added}\n${text}` : `${text}\n${added}`;
    }
    return { ...one, text, tokens: countTokens(text), chunks: [hit, ...joined.slice(1)] };
  });
}

function bestOf<T extends Packable>(waiting: ReadonlySet<T>, taken: readonly Packed<T>[]): T {
  const uses = new Map<string, number>();
  for (const { hit } of taken) uses.set(hit.document_id, (uses.get(hit.document_id) ?? 0) + 1);
  const worth = (hit: T): number => hit.score - AGAIN * (uses.get(hit.document_id) ?? 0);
  const [first, ...rest] = waiting;
  if (first === undefined) throw new RangeError('There is no passage to choose from.');
  return rest.reduce((best, hit) => (worth(hit) > worth(best) ? hit : best), first);
}

function samePlace(a: Packable, b: Packable): boolean {
  if (a.document_id !== b.document_id) return false;
  const shared = Math.min(a.end, b.end) - Math.max(a.start, b.start);
  return shared > SAME_PLACE * Math.min(a.end - a.start, b.end - b.start);
}

/** One says word for word what the other says. Anything less may differ in the one number that matters. */
function sameWords(a: string, b: string): boolean {
  return a.length < b.length ? ` ${b} `.includes(` ${a} `) : ` ${a} `.includes(` ${b} `);
}

/** The whole passage, or the leading sentences that fit; `null` where not even one does. */
function fit<T extends Packable>(hit: T, room: number, countTokens: (text: string) => number): Packed<T> | null {
  const text = stripInvisible(hit.text).trim();
  if (!text) return null;
  const tokens = countTokens(text);
  if (tokens <= room) return { hit, text, tokens };
  if (room < LEAST_TOKENS) return null;
  let end = 0;
  let used = 0;
  for (const sentence of sentences(text)) {
    const more = countTokens(text.slice(end, sentence.end));
    if (used + more > room) break;
    used += more;
    end = sentence.end;
  }
  return end === 0 ? null : { hit, text: text.slice(0, end), tokens: used };
}
