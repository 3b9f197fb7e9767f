/**
 * Cuts a text that arrives in pieces. A chunk is a range of units (`chunk-units.ts`); where a section had to be split, a
 * chunk repeats the last sentences of the one before it, so that what refers back is found with what it refers to.
 *
 * Offsets are exact: a chunk's text is a slice of the whole text, trimmed of outer blanks, and nothing but blanks lies
 * between chunks. What is kept is a window of the text, from a little before the units that a next chunk may repeat to
 * the end of what has arrived; so memory does not grow with the text, and time grows linearly.
 */
import type { Chunk, Chunking, ChunkStream, Heading, PageSpan, TextStructure } from '../contracts/index.ts';
import { isBlank } from '../kernel/text/blanks.ts';
import { type ChunkRules, rulesOf } from './chunk-rules.ts';
import { CUT, createFixedUnits, createLineUnits, type TextWindow, type Unit } from './chunk-units.ts';
import { isGraphemeBoundary } from './graphemes.ts';
import type { TokenCounter } from './token-counter.ts';

/** What stays of the text before the first unit: graphemes and ends of sentences are told by what is before them. */
const BEHIND = 1024;
/** Units are forgotten this many at a time. */
const FORGET = 256;

export function createChunkStream(structure: TextStructure, chunking: Chunking, counter: TokenCounter): ChunkStream {
  const rules = rulesOf(chunking);
  const units: Unit[] = [];
  const source =
    chunking.strategy === 'fixed'
      ? createFixedUnits(counter, rules.max)
      : createLineUnits(structure.headings, counter, rules.max);
  const place = createPlaces(structure);
  const window: TextWindow = { text: '', base: 0, at: 0, ended: false };
  /** The first unit that no chunk has yet. */
  let fresh = 0;
  /** The unit with which the last chunk begins: the next one begins later, however much it may repeat. */
  let begun = -1;
  let ordinal = 0;

  function take(piece: string): Chunk[] {
    if (piece.length > 0) window.text += piece;
    source.make(window, units);
    const chunks: Chunk[] = [];
    // Blank lines still lengthen the last unit.
    const known = window.ended ? units.length : units.length - 1;
    while (fresh < known) {
      const first = withOverlap(units, begun + 1, fresh, rules);
      const end = endOf(units, first, fresh, known, window.ended, rules);
      if (end === undefined) break;
      fresh = fit(first, end, chunks);
    }
    forget();
    return chunks;
  }

  /** Adds the chunk of these units, or of as many as fit; returns the first unit that no chunk has then. */
  function fit(first: number, end: number, chunks: Chunk[]): number {
    const chunk = chunkOf(first, end);
    // A vocabulary may take a token more for the whole than for its parts.
    if (chunk && chunk.tokens > chunking.chunk_tokens) {
      if (end > fresh + 1) return fit(first, end - 1, chunks);
      if (first < fresh) return fit(fresh, end, chunks);
    }
    begun = first;
    if (chunk) chunks.push({ ordinal: ordinal++, ...chunk, ...place(chunk.start) });
    return end;
  }

  function chunkOf(first: number, end: number): Pick<Chunk, 'start' | 'end' | 'text' | 'tokens'> | undefined {
    const { text: whole, base } = window;
    const [from, to] = [(units[first]?.start ?? 0) - base, (units[end - 1]?.end ?? 0) - base];
    const span = trim(whole, from, to);
    if (!span) return undefined;
    const text = whole.slice(span.start, span.end);
    const tokens = counter.count?.(text) ?? sumOf(first, end, from, to, span);
    return { start: base + span.start, end: base + span.end, text, tokens };
  }

  /** Of estimated tokens: what the units cost, without the blanks around them. */
  function sumOf(first: number, end: number, from: number, to: number, span: { start: number; end: number }): number {
    let cost = 0;
    for (let i = first; i < end; i++) cost += units[i]?.cost ?? 0;
    cost -= counter.cost(window.text, from, span.start) + counter.cost(window.text, span.end, to);
    return Math.ceil(cost / 100);
  }

  function forget(): void {
    const kept = reachBack(units, fresh, rules.overlap);
    if (kept >= FORGET) {
      units.splice(0, kept);
      fresh -= kept;
      begun -= kept;
    }
    const first = units[Math.min(reachBack(units, fresh, rules.overlap), units.length)];
    const from = Math.max(0, (first?.start ?? window.at) - window.base - BEHIND);
    if (from === 0) return;
    window.text = window.text.slice(from);
    window.base += from;
  }

  return {
    push: take,
    end() {
      window.ended = true;
      return take('');
    },
  };
}

/** The earliest unit that a chunk which begins at `fresh` could repeat. */
function reachBack(units: readonly Unit[], fresh: number, overlap: number): number {
  let cost = 0;
  for (let i = fresh - 1; i >= 0; i--) {
    cost += units[i]?.cost ?? 0;
    if (cost > overlap) return i + 1;
  }
  return 0;
}

/** The unit to start with when `fresh` is the first that no chunk has yet: earlier by whole sentences of its section. */
function withOverlap(
  units: readonly Unit[],
  earliest: number,
  fresh: number,
  { max, overlap, best }: ChunkRules,
): number {
  const own = units[fresh];
  const sections = best === CUT.section;
  if (!own || fresh === 0 || (sections && own.cut === CUT.section)) return fresh;
  const wanted = Math.min(best, CUT.sentence);
  let first = fresh;
  let cost = 0;
  for (let i = fresh - 1; i >= Math.max(0, earliest); i--) {
    const unit = units[i];
    if (!unit || cost + unit.cost > overlap || cost + unit.cost + own.cost > max) break;
    cost += unit.cost;
    if (unit.cut >= wanted) first = i;
    if (sections && unit.cut === CUT.section) break;
  }
  return first;
}

/**
 * Where the chunk that starts at `first` ends: past `fresh` in any case, before `known` unless the text has ended.
 * Undefined where units that are to come decide.
 */
function endOf(
  units: readonly Unit[],
  first: number,
  fresh: number,
  known: number,
  ended: boolean,
  rules: ChunkRules,
): number | undefined {
  let cost = 0;
  for (let i = first; i < known; i++) {
    const unit = units[i];
    if (!unit) break;
    if (i > fresh) {
      if (rules.best >= CUT.section && unit.cut === CUT.section && cost >= rules.min) return i;
      if (rules.best >= CUT.block && unit.cut >= CUT.block && cost >= rules.target) {
        return beforeHeading(units, i, fresh);
      }
      if (cost + unit.cost > rules.max) return bestCut(units, first, fresh, i, rules);
    }
    cost += unit.cost;
  }
  return ended ? known : undefined;
}

/** The best place to cut after `fresh` and up to `limit`, once half of the target is filled; of equal ones the last. */
function bestCut(
  units: readonly Unit[],
  first: number,
  fresh: number,
  limit: number,
  { target, best }: ChunkRules,
): number {
  const worth = (at: number) => Math.min(units[at]?.cut ?? 0, best);
  let found = limit;
  let cost = 0;
  for (let i = first; i <= limit; i++) {
    if (i > fresh && cost >= target / 2 && worth(i) >= worth(found)) found = i;
    cost += units[i]?.cost ?? 0;
  }
  return best === CUT.section ? beforeHeading(units, found, fresh) : found;
}

/** A heading goes with what it heads, not with what is before it. */
function beforeHeading(units: readonly Unit[], end: number, fresh: number): number {
  let at = end;
  while (at - 1 > fresh && units[at - 1]?.cut === CUT.section) at -= 1;
  return at;
}

function trim(text: string, from: number, to: number): { start: number; end: number } | undefined {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start += 1;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1;
  if (start === end) return undefined;
  // A blank that carries an accent is part of what follows it.
  if (start > from && !isGraphemeBoundary(text, start)) start -= 1;
  if (end < to && !isGraphemeBoundary(text, end)) end += 1;
  return { start, end };
}

/** Page and heading path of ever later positions. */
function createPlaces({ headings, pages }: TextStructure) {
  const open: Heading[] = [];
  let path: readonly string[] = [];
  let nextHeading = 0;
  let page: PageSpan | undefined;
  let nextPage = 0;
  return (position: number): { page: number | null; headings: readonly string[] } => {
    const before = nextHeading;
    for (let heading = headings[nextHeading]; heading && heading.start <= position; heading = headings[nextHeading]) {
      while ((open.at(-1)?.level ?? 0) >= heading.level) open.pop();
      open.push(heading);
      nextHeading += 1;
    }
    for (let next = pages[nextPage]; next && next.start <= position; next = pages[nextPage]) {
      page = next;
      nextPage += 1;
    }
    // Chunks of one section share their path.
    if (nextHeading > before) path = open.map(({ title }) => title);
    return { page: page?.page ?? null, headings: path };
  };
}
