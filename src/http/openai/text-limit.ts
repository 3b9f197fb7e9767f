/** Where a client wants an answer to end before its own end: after so many tokens, or where it says one of some words. */
import { estimateTokens } from '../../kernel/text/tokens.ts';

export interface TextLimit {
  /** What may be told of the next words; `end` says why nothing more may. */
  push(text: string): { text: string; end?: 'length' | 'stop' };
  /** What was held back because it might have begun a stop word, once the answer has ended. */
  rest(): string;
}

/** The longest end of a text that one of the words begins with. */
function begunIn(text: string, words: readonly string[]): number {
  const longest = Math.min(text.length, Math.max(0, ...words.map(({ length }) => length - 1)));
  for (let length = longest; length > 0; length--) {
    const end = text.slice(-length);
    if (words.some((word) => word.startsWith(end))) return length;
  }
  return 0;
}

/** The longest beginning of so many tokens, as they are estimated, on a whole character. */
function firstTokens(text: string, tokens: number): string {
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (estimateTokens(text.slice(0, middle)) <= tokens) low = middle;
    else high = middle - 1;
  }
  return text.slice(0, low).replace(/[\ud800-\udbff]$/, '');
}

export function createTextLimit({
  maxTokens,
  stop,
}: {
  maxTokens?: number | undefined;
  stop: readonly string[];
}): TextLimit {
  const words = stop.filter((word) => word !== '');
  let held = '';
  let given = '';

  function give(text: string, end?: 'stop'): { text: string; end?: 'length' | 'stop' } {
    if (maxTokens !== undefined && estimateTokens(given + text) > maxTokens) {
      const kept = firstTokens(given + text, maxTokens).slice(given.length);
      given += kept;
      return { text: kept, end: 'length' };
    }
    given += text;
    return { text, ...(end && { end }) };
  }

  return {
    push(text) {
      const all = held + text;
      const at = Math.min(...words.map((word) => all.indexOf(word)).filter((index) => index >= 0));
      if (Number.isFinite(at)) return give(all.slice(0, at), 'stop');
      const length = begunIn(all, words);
      held = all.slice(all.length - length);
      return give(all.slice(0, all.length - length));
    },
    rest: () => held,
  };
}
