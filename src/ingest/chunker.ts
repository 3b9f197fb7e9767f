/**
 * Cuts a document into chunks by its structure: sections first, then paragraphs, tables, lists and code, then sentences,
 * and inside a sentence only where nothing else fits. A chunk is about `targetTokens` long and never over `maxTokens`.
 * Where a section had to be split, a chunk repeats the last sentences of the one before it, so that what refers back is
 * found with what it refers to.
 *
 * Offsets are exact: a chunk's text is a slice of the document's, trimmed of outer blanks, and nothing but blanks lies
 * between chunks. Linear in the text.
 */
import type { Chunk, Chunker, ExtractedDocument, Heading, PageSpan } from '../contracts/index.ts';
import { CUT, splitUnits, type Unit } from './chunk-units.ts';
import { isGraphemeBoundary } from './graphemes.ts';
import { isBlank } from './sentences.ts';
import { estimateTokens } from './token-estimate.ts';

/** Grows with every change that cuts some document differently. */
const ALGORITHM = 1;

export interface StructuralChunkerOptions {
  /** The most estimated tokens of a chunk. */
  maxTokens?: number;
  /** From here on a chunk ends with its paragraph. */
  targetTokens?: number;
  /** What may be repeated from the chunk before, where a section is split. */
  overlapTokens?: number;
  /** Smaller sections are put together with the next. */
  minTokens?: number;
}

export function createStructuralChunker({
  maxTokens = 400,
  targetTokens = 300,
  overlapTokens = 45,
  minTokens = 80,
}: StructuralChunkerOptions = {}): Chunker {
  if (!(maxTokens >= targetTokens && targetTokens > overlapTokens && overlapTokens >= 0 && minTokens <= targetTokens)) {
    throw new RangeError(
      'chunk sizes must be: maxTokens >= targetTokens > overlapTokens >= 0, targetTokens >= minTokens',
    );
  }
  const sizes: Sizes = {
    max: maxTokens * 100,
    target: targetTokens * 100,
    overlap: overlapTokens * 100,
    min: minTokens * 100,
  };
  return {
    version: `structural-${ALGORITHM}/${maxTokens}/${targetTokens}/${overlapTokens}/${minTokens}`,
    chunk(document) {
      const units = splitUnits(document, sizes.max);
      const place = createPlaces(document);
      const chunks: Chunk[] = [];
      for (const { first, end } of groups(units, sizes)) {
        const span = trim(document.text, units[first]?.start ?? 0, units[end - 1]?.end ?? 0);
        if (!span) continue;
        const text = document.text.slice(span.start, span.end);
        chunks.push({ ordinal: chunks.length, ...span, text, ...place(span.start), tokens: estimateTokens(text) });
      }
      return chunks;
    },
  };
}

interface Sizes {
  max: number;
  target: number;
  overlap: number;
  min: number;
}

/** Ranges of units that make a chunk each; a range starts before the end of the one before where they overlap. */
function* groups(units: readonly Unit[], sizes: Sizes): Generator<{ first: number; end: number }> {
  for (let fresh = 0; fresh < units.length; ) {
    const first = withOverlap(units, fresh, sizes);
    const end = endOf(units, first, fresh, sizes);
    yield { first, end };
    fresh = end;
  }
}

/** The unit to start with when `fresh` is the first that no chunk has yet: earlier by whole sentences of its section. */
function withOverlap(units: readonly Unit[], fresh: number, { max, overlap }: Sizes): number {
  const own = units[fresh];
  if (!own || fresh === 0 || own.cut === CUT.section) return fresh;
  let first = fresh;
  let cost = 0;
  for (let i = fresh - 1; i >= 0; i--) {
    const unit = units[i];
    if (!unit || cost + unit.cost > overlap || cost + unit.cost + own.cost > max) break;
    cost += unit.cost;
    if (unit.cut >= CUT.sentence) first = i;
    if (unit.cut === CUT.section) break;
  }
  return first;
}

/** Where the chunk that starts at `first` ends: past `fresh` in any case. */
function endOf(units: readonly Unit[], first: number, fresh: number, sizes: Sizes): number {
  let cost = 0;
  for (let i = first; i < units.length; i++) {
    const unit = units[i];
    if (!unit) break;
    if (i > fresh) {
      if (unit.cut === CUT.section && cost >= sizes.min) return i;
      if (unit.cut >= CUT.block && cost >= sizes.target) return beforeHeading(units, i, fresh);
      if (cost + unit.cost > sizes.max) return bestCut(units, first, fresh, i, sizes);
    }
    cost += unit.cost;
  }
  return units.length;
}

/** The best place to cut after `fresh` and up to `limit`, once half of the target is filled; of equal ones the last. */
function bestCut(units: readonly Unit[], first: number, fresh: number, limit: number, { target }: Sizes): number {
  let best = limit;
  let cost = 0;
  for (let i = first; i <= limit; i++) {
    const unit = units[i];
    if (!unit) break;
    if (i > fresh && cost >= target / 2 && unit.cut >= (units[best]?.cut ?? 0)) best = i;
    cost += unit.cost;
  }
  return beforeHeading(units, best, fresh);
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
function createPlaces({ headings, pages }: ExtractedDocument) {
  const open: Heading[] = [];
  let nextHeading = 0;
  let page: PageSpan | undefined;
  let nextPage = 0;
  return (position: number): { page: number | null; headings: string[] } => {
    for (let heading = headings[nextHeading]; heading && heading.start <= position; heading = headings[nextHeading]) {
      while ((open.at(-1)?.level ?? 0) >= heading.level) open.pop();
      open.push(heading);
      nextHeading += 1;
    }
    for (let next = pages[nextPage]; next && next.start <= position; next = pages[nextPage]) {
      page = next;
      nextPage += 1;
    }
    return { page: page?.page ?? null, headings: open.map(({ title }) => title) };
  };
}
