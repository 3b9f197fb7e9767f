/**
 * A text as a row of small units that tile it without gaps: sentences, lines, table rows, list items. Each says how good
 * a place its start is to cut at. The chunker only chooses among these starts.
 *
 * The text comes in pieces: units are made of whole lines, or of pieces of lines that are too long to wait for, and where
 * such a line is cut depends on the line alone. So the units are the same however the text was divided.
 */
import type { Heading } from '../contracts/index.ts';
import { isBlank } from '../kernel/text/blanks.ts';
import { sentenceStarts } from '../kernel/text/sentences.ts';
import { codePointFloor, graphemeFloor, isGraphemeBoundary } from './graphemes.ts';
import type { TokenCounter } from './token-counter.ts';

/** How well the text can be cut before a unit, worst first. */
export const CUT = { inside: 0, wrap: 1, sentence: 2, line: 3, block: 4, section: 5 } as const;
export type Cut = (typeof CUT)[keyof typeof CUT];

/** Offsets count in the whole text. */
export interface Unit {
  start: number;
  /** Where the next unit starts: blanks behind a unit belong to it. */
  end: number;
  /** In hundredths of a token. */
  cost: number;
  cut: Cut;
}

/** The part of the text that is at hand. */
export interface TextWindow {
  text: string;
  /** Offset of `text` in the whole. */
  base: number;
  /** Up to where units were made, in the whole text. */
  at: number;
  /** No more text will come. */
  ended: boolean;
}

export interface UnitMaker {
  /** Appends units of what is at hand; the last unit may still grow until the text has ended. */
  make(window: TextWindow, units: Unit[]): void;
}

/** A longer line is cut: nobody waits for its end. */
const MAX_LINE = 65_536;
/** What must be at hand behind such a cut, so that no grapheme is torn. */
const AHEAD = 1024;
/** How far before the cut a blank is looked for. */
const BEFORE = 4096;
/** Units of a fixed window: small enough that windows come near their size. */
const FIXED_SHARE = 16;
const FIXED_CHARS = 2048;

type LineKind = 'blank' | 'text' | 'item' | 'row' | 'code';

interface Maker {
  counter: TokenCounter;
  /** The most one unit may cost; a unit that is one grapheme may cost as much as a chunk. */
  maxCost: number;
  maxChunkCost: number;
}

/** Units of lines and sentences. Linear in the text. */
export function createLineUnits(headings: readonly Heading[], counter: TokenCounter, maxChunkCost: number): UnitMaker {
  const maker = { counter, maxCost: maxChunkCost, maxChunkCost };
  let previous: LineKind = 'blank';
  let fenced = false;
  let heading = 0;
  /** The line that starts here was begun before. */
  let torn = false;

  function line(text: string, base: number, from: number, to: number, whole: boolean, units: Unit[]): void {
    const [start, end] = [base + from, base + to];
    const add = (first: number, last: number, cut: Cut) => addUnit(units, { text, base }, first, last, cut, maker);
    while ((headings[heading]?.end ?? Number.POSITIVE_INFINITY) <= start) heading += 1;
    const current = headings[heading];
    const head = text.slice(from, Math.min(to, from + 200));
    const fence = !torn && /^\s{0,3}(?:```|~~~)/.test(head);
    const kind: LineKind = fenced || fence ? 'code' : torn ? 'text' : kindOf(head, text, from, to);

    if (current && current.start >= start && current.start < end) add(from, to, CUT.section);
    else if (current && current.start < start && current.end > start) add(from, to, CUT.wrap);
    else if (kind === 'blank') extendLast(units, { text, base }, from, to, maker);
    else {
      const cut = torn ? CUT.inside : cutBefore(kind, previous, fenced);
      if (kind === 'text') addSentences(text, from, to, cut, add);
      else add(from, to, cut);
    }
    const endsHeading = current !== undefined && current.start < end && current.end >= start;
    if (fence) fenced = !fenced;
    previous = endsHeading ? 'blank' : kind;
    torn = !whole;
  }

  return {
    make(window, units) {
      const { text, base, ended } = window;
      for (let from = window.at - base; from < text.length; from = window.at - base) {
        const newline = text.indexOf('\n', from);
        const left = text.length - from;
        if (newline >= 0 && newline + 1 - from <= MAX_LINE) {
          line(text, base, from, newline + 1, true, units);
          window.at = base + newline + 1;
        } else if (newline >= 0 || ended || left >= MAX_LINE + AHEAD) {
          const to = left <= MAX_LINE ? text.length : cutOfLine(text, from, from + MAX_LINE);
          line(text, base, from, to, false, units);
          window.at = base + to;
        } else return;
      }
    },
  };
}

/** Units of a few words each, with no eye for structure. */
export function createFixedUnits(counter: TokenCounter, maxChunkCost: number): UnitMaker {
  const maker = { counter, maxCost: maxChunkCost / FIXED_SHARE, maxChunkCost };
  return {
    make(window, units) {
      const { text, base, ended } = window;
      for (let from = window.at - base; from < text.length; from = window.at - base) {
        if (!ended && text.length - from < FIXED_CHARS + AHEAD) return;
        const to = Math.min(text.length, from + FIXED_CHARS);
        const unit = furthest(text, from, to, to === text.length, maker);
        units.push({ start: base + from, end: base + unit.at, cost: unit.cost, cut: CUT.inside });
        window.at = base + unit.at;
      }
    },
  };
}

/** Where a line that is too long is cut: behind a blank not far before `limit`, else between two graphemes. */
function cutOfLine(text: string, from: number, limit: number): number {
  for (let at = limit; at > limit - BEFORE; at--) {
    if (isBlank(text.charCodeAt(at - 1)) && isGraphemeBoundary(text, at)) return at;
  }
  const floor = graphemeFloor(text, limit);
  return floor > from ? floor : codePointFloor(text, limit);
}

function kindOf(head: string, text: string, start: number, end: number): LineKind {
  if (!/\S/.test(head) && isAllBlank(text, start, end)) return 'blank';
  if (/^\s*\|.*\|\s*$/.test(head) || /\S\t+\S/.test(head)) return 'row';
  if (/^\s*(?:[-*+•·◦▪–]|\d{1,3}[.)、]|[(（]\d{1,2}[)）])\s/.test(head)) return 'item';
  return 'text';
}

function isAllBlank(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (!isBlank(text.charCodeAt(i))) return false;
  return true;
}

function cutBefore(kind: LineKind, previous: LineKind, fenced: boolean): Cut {
  if (previous === 'blank') return fenced ? CUT.line : CUT.block;
  if (kind !== previous && !(kind === 'text' && previous === 'item')) return CUT.block;
  return kind === 'text' ? CUT.wrap : CUT.line;
}

/** A line of running text: its first sentence may have begun on the line before. */
function addSentences(
  text: string,
  start: number,
  end: number,
  cut: Cut,
  add: (start: number, end: number, cut: Cut) => void,
): void {
  let from = start;
  let before = cut === CUT.wrap && endsSentenceBefore(text, start) ? CUT.sentence : cut;
  for (const next of sentenceStarts(text, start, end)) {
    if (!isGraphemeBoundary(text, next)) continue;
    add(from, next, before);
    from = next;
    before = CUT.sentence;
  }
  add(from, end, before);
}

function endsSentenceBefore(text: string, lineStart: number): boolean {
  return /[.!?…。！？｡]["'”’)\]」』）]?\s*$/.test(text.slice(Math.max(0, lineStart - 4), lineStart));
}

type Piece = Pick<TextWindow, 'text' | 'base'>;

/** Blank lines belong to what is before them; those that open a text to a unit of their own. */
function extendLast(units: Unit[], piece: Piece, from: number, to: number, maker: Maker): void {
  const last = units.at(-1);
  const cost = maker.counter.cost(piece.text, from, to);
  if (last && last.cost + cost <= maker.maxCost) {
    last.end = piece.base + to;
    last.cost += cost;
  } else addUnit(units, piece, from, to, CUT.line, maker);
}

function addUnit(units: Unit[], { text, base }: Piece, start: number, end: number, cut: Cut, maker: Maker): void {
  let from = start;
  let how = cut;
  while (from < end) {
    const { at, cost } = furthest(text, from, end, true, maker);
    units.push({ start: base + from, end: base + at, cost, cut: how });
    from = at;
    how = CUT.inside;
  }
}

/**
 * How far from `from` one unit may reach: to `end` where it may end there, else to a blank or comma not far before the
 * limit, else to it.
 */
function furthest(
  text: string,
  from: number,
  end: number,
  mayEnd: boolean,
  { counter, maxCost, maxChunkCost }: Maker,
): { at: number; cost: number } {
  const { at: limit, cost: reached } = counter.reach(text, from, end, maxCost);
  if (limit >= end && mayEnd) return { at: end, cost: reached };
  const least = from + (limit - from) * 0.6;
  let at = limit;
  while (at > least && !(isSoftBreak(text.charCodeAt(at - 1)) && isGraphemeBoundary(text, at))) at -= 1;
  if (at <= least) at = graphemeFloor(text, limit);
  if (at <= from) at = graphemeAfter(text, from, end);
  const cost = counter.cost(text, from, at);
  if (cost <= maxChunkCost) return { at, cost };
  // One grapheme that is longer than a whole chunk: no text, but it must end somewhere.
  const one = from + ((text.codePointAt(from) ?? 0) > 0xffff ? 2 : 1);
  at = Math.max(codePointFloor(text, counter.reach(text, from, end, maxChunkCost).at), one);
  return { at, cost: counter.cost(text, from, at) };
}

/** The end of the grapheme that starts at `from`. */
function graphemeAfter(text: string, from: number, end: number): number {
  let at = from + 1;
  while (at < end && !isGraphemeBoundary(text, at)) at += 1;
  return at;
}

const SOFT = new Set([...',;:，、；：)）]】'].map((char) => char.charCodeAt(0)));
const isSoftBreak = (code: number) => isBlank(code) || SOFT.has(code);
