/**
 * A document's text as a row of small units that tile it without gaps: sentences, lines, table rows, list items. Each
 * says how good a place its start is to cut at. The chunker only chooses among these starts.
 */
import type { ExtractedDocument } from '../contracts/index.ts';
import { codePointFloor, graphemeFloor, isGraphemeBoundary } from './graphemes.ts';
import { isBlank, sentenceStarts } from './sentences.ts';
import { tokenCost, unitCost } from './token-estimate.ts';

/** How well the text can be cut before a unit, worst first. */
export const CUT = { inside: 0, wrap: 1, sentence: 2, line: 3, block: 4, section: 5 } as const;
export type Cut = (typeof CUT)[keyof typeof CUT];

export interface Unit {
  start: number;
  /** Where the next unit starts: blanks behind a unit belong to it. */
  end: number;
  /** In hundredths of a token. */
  cost: number;
  cut: Cut;
}

type LineKind = 'blank' | 'text' | 'item' | 'row' | 'code';

/** Units of at most `maxCost` each. Linear in the text. */
export function splitUnits({ text, headings }: ExtractedDocument, maxCost: number): Unit[] {
  const units: Unit[] = [];
  const add = (start: number, end: number, cut: Cut) => addUnit(units, text, start, end, cut, maxCost);
  let previous: LineKind = 'blank';
  let fenced = false;
  let heading = 0;
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline + 1;
    while ((headings[heading]?.end ?? Number.POSITIVE_INFINITY) <= start) heading += 1;
    const current = headings[heading];
    const head = text.slice(start, Math.min(end, start + 200));
    const fence = /^\s{0,3}(?:```|~~~)/.test(head);
    const kind: LineKind = fenced || fence ? 'code' : kindOf(head, text, start, end);

    if (current && current.start >= start && current.start < end) add(start, end, CUT.section);
    else if (current && current.start < start && current.end > start) add(start, end, CUT.wrap);
    else if (kind === 'blank') extendLast(units, text, start, end, maxCost);
    else {
      const cut = cutBefore(kind, previous, fenced);
      if (kind === 'text') addSentences(text, start, end, cut, add);
      else add(start, end, cut);
    }
    const endsHeading = current !== undefined && current.start < end && current.end >= start;
    if (fence) fenced = !fenced;
    previous = endsHeading ? 'blank' : kind;
    start = end;
  }
  return units;
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

/** Blank lines belong to what is before them; those that open a text to a unit of their own. */
function extendLast(units: Unit[], text: string, start: number, end: number, maxCost: number): void {
  const last = units.at(-1);
  const cost = tokenCost(text, start, end);
  if (last && last.cost + cost <= maxCost) {
    last.end = end;
    last.cost += cost;
  } else addUnit(units, text, start, end, CUT.line, maxCost);
}

function addUnit(units: Unit[], text: string, start: number, end: number, cut: Cut, maxCost: number): void {
  let from = start;
  let how = cut;
  while (from < end) {
    const { at, cost } = furthest(text, from, end, maxCost);
    units.push({ start: from, end: at, cost, cut: how });
    from = at;
    how = CUT.inside;
  }
}

/** How far from `from` one unit may reach: to `end`, else to a blank or comma not far before the limit, else to it. */
function furthest(text: string, from: number, end: number, maxCost: number): { at: number; cost: number } {
  let cost = 0;
  let at = from;
  let soft = from;
  for (; at < end; at++) {
    const next = unitCost(text.charCodeAt(at));
    if (cost + next > maxCost) break;
    cost += next;
    if (isSoftBreak(text.charCodeAt(at))) soft = at + 1;
  }
  if (at >= end) return { at: end, cost };
  const good = soft > from + (at - from) * 0.6 && isGraphemeBoundary(text, soft);
  let cutAt = good ? soft : graphemeFloor(text, at);
  // One grapheme that is longer than a whole unit: no text, but it must end somewhere.
  if (cutAt <= from)
    cutAt = Math.max(codePointFloor(text, at), from + ((text.codePointAt(from) ?? 0) > 0xffff ? 2 : 1));
  return { at: cutAt, cost: tokenCost(text, from, cutAt) };
}

const SOFT = new Set([...',;:，、；：)）]】'].map((char) => char.charCodeAt(0)));
const isSoftBreak = (code: number) => isBlank(code) || SOFT.has(code);
