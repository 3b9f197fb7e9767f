/**
 * A summary with no model: sentences of the conversation, in its order, chosen as SumBasic does (Nenkova and Vanderwende
 * 2005): the one whose words are the most frequent on average, then each of its words counts by the square of its share, so
 * that what was said already is not said again. Deterministic.
 */
import type { SummaryRequest } from '../contracts/index.ts';
import { CITATION_FORM } from '../kernel/text/citation-form.ts';
import { analyse } from '../kernel/text/lexemes.ts';
import { stripInvisible, truncate } from '../kernel/text/normalise.ts';
import { sentences } from '../kernel/text/sentences.ts';

/** UTF-16 units of the whole, and of one sentence. */
const MOST = 1_600;
const LONGEST = 240;
/** What the user said weighs more: the rest can be asked for again. */
const USER_WEIGHT = 1.5;

const CITATION = new RegExp(CITATION_FORM, 'gi');
const LINE = /^- (Q|A): /;
const LIST_MARK = /^\s*(?:[-*+•]|\d{1,3}[.)])\s+/u;

interface Candidate {
  readonly who: 'Q' | 'A';
  readonly text: string;
  readonly terms: readonly string[];
}

/** `boilerplate` is what answers say of themselves. */
export function extractSummary({ earlier, messages }: SummaryRequest, boilerplate: ReadonlySet<string>): string {
  const candidates: Candidate[] = [];
  const seen = new Set<string>();
  const add = (who: 'Q' | 'A', said: string) => {
    const text = truncate(said.replace(LIST_MARK, '').replace(CITATION, ' ').replace(/\s+/g, ' ').trim(), LONGEST);
    const terms = [...new Set(analyse(text).lexemes.map(({ term }) => term))];
    if (terms.length === 0 || seen.has(text)) return;
    seen.add(text);
    candidates.push({ who, text, terms });
  };
  for (const line of (earlier ?? '').split('\n')) add(LINE.exec(line)?.[1] === 'Q' ? 'Q' : 'A', line.replace(LINE, ''));
  for (const { role, content } of messages) {
    for (const paragraph of stripInvisible(content).split(/\n{2,}/)) {
      if (boilerplate.has(paragraph.trim())) continue;
      for (const { text } of sentences(paragraph)) add(role === 'user' ? 'Q' : 'A', text);
    }
  }
  return choose(candidates)
    .map(({ who, text }) => `- ${who}: ${text}`)
    .join('\n');
}

function choose(candidates: readonly Candidate[]): Candidate[] {
  const counts = new Map<string, number>();
  let total = 0;
  for (const { terms } of candidates) {
    for (const term of terms) counts.set(term, (counts.get(term) ?? 0) + 1);
    total += terms.length;
  }
  const share = new Map([...counts].map(([term, count]) => [term, count / total]));
  const worth = ({ who, terms }: Candidate) =>
    (terms.reduce((sum, term) => sum + (share.get(term) ?? 0), 0) / terms.length) * (who === 'Q' ? USER_WEIGHT : 1);
  const left = new Set(candidates);
  const chosen = new Set<Candidate>();
  let room = MOST;
  while (left.size > 0) {
    let best: Candidate | undefined;
    let most = -1;
    for (const candidate of left) {
      const value = worth(candidate);
      if (value > most) [best, most] = [candidate, value];
    }
    if (!best) break;
    left.delete(best);
    // A longer one that does not fit makes room for a shorter one.
    if (best.text.length + 6 > room) continue;
    room -= best.text.length + 6;
    chosen.add(best);
    for (const term of best.terms) share.set(term, (share.get(term) ?? 0) ** 2);
  }
  return candidates.filter((candidate) => chosen.has(candidate));
}
