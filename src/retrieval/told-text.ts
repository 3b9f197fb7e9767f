/**
 * What an answer filter has told so far, read as Markdown: what a renderer makes of the next characters depends on it, and not
 * on what came in. Lines end in "\n" alone.
 *
 * Code is trusted only where every common renderer sees it: from the first thing on that some of them read otherwise, nothing
 * is, to the end of the paragraph (`doubt`) or of the answer (`distrust`).
 */
export interface ToldText {
  /** Adds `text`, apart from what was told where both together would be what neither is; says what was added. */
  add(text: string, options?: { cut?: boolean; asIs?: boolean }): string;
  /** The last character. */
  readonly last: string;
  /** Spaces before the next character where nothing else is on its line and they are no more than three; else undefined. */
  readonly indent: number | undefined;
  /** Whether a fence that begins here is one. */
  readonly trustsBlocks: boolean;
  /** Whether a code span that begins here is one. */
  readonly trustsSpans: boolean;
  /**
   * Code was told in this paragraph that must stay code: no backtick may follow that does not end what it begins, since
   * markdown-it, looking for the end of a link before it, would then find no code at all.
   */
  readonly isReliedOn: boolean;
  rely(): void;
  doubt(): void;
  distrust(): void;
}

/** Where a line gets longer than this, its middle is forgotten. */
const MOST_OF_LINE = 4_096;
const MARKERS = String.raw`[\s>*+\-\d.)]*`;
/** Containers that some renderers know, and whose ends stand above fences. */
const CONTAINER = new RegExp(`^${MARKERS}:::`);
/** Whether the brackets at the end of a line stand behind words, where they cannot begin the definition of a link. */
function endsInBrackets(line: string): boolean {
  const open = line.lastIndexOf('[');
  const isPair = open >= 0 && line.charAt(open - 1) !== '\\' && line.indexOf(']', open) === line.length - 1;
  return isPair && /\p{L}/u.test(line.slice(0, open));
}

export function createToldText(): ToldText {
  let line = '';
  let last = '';
  let isFirstLine = true;
  let isInMath = false;
  let isDoubtful = false;
  let isReliedOn = false;
  let isDistrusted = false;
  let wasCut = false;

  function apart(text: string, isCut: boolean): boolean {
    const first = text.charAt(0);
    if (last === ']' && first === ':') return !endsInBrackets(line);
    if (/^(?:!\[|\]\(|<[a-z/!?]|``|~~|\\`)/i.test(last + first)) return true;
    // What stood between them must not make an address or an entity of them.
    return isCut && (/^[a-z\d:/.&#][a-z\d/#]/i.test(last + first) || /^(?:w\.|[ps]:)/i.test(last + first));
  }

  function endLine(): void {
    if (isFirstLine && /^(?:---|\+\+\+)/.test(line)) isDistrusted = true;
    if (line === '$$') {
      isInMath = !isInMath;
      isDoubtful = true;
    } else if (line.includes('$$') && !/^[^$]*\$\$[^$]+\$\$[^$]*$/.test(line)) isDistrusted = true;
    if (CONTAINER.test(line)) isDistrusted = true;
    if (line.trim() === '') isReliedOn = false;
    if (line.trim() === '' && !isInMath) isDoubtful = false;
    isFirstLine = false;
    line = '';
  }

  return {
    add(text, { cut = false, asIs = false } = {}) {
      if (text === '') {
        wasCut ||= cut;
        return '';
      }
      const added = !asIs && apart(text, wasCut || cut) ? ` ${text}` : text;
      wasCut = cut;
      for (const [index, piece] of added.split('\n').entries()) {
        if (index > 0) endLine();
        line += piece;
        if (line.length > MOST_OF_LINE) line = line.slice(0, 64) + line.slice(-MOST_OF_LINE / 2);
      }
      last = added.at(-1) ?? last;
      return added;
    },
    get last() {
      return last;
    },
    get indent() {
      return /^ {0,3}$/.test(line) ? line.length : undefined;
    },
    get trustsBlocks() {
      return !isDistrusted && !isInMath;
    },
    get trustsSpans() {
      return !isDistrusted && !isInMath && !isDoubtful && !line.includes('$$') && !CONTAINER.test(line);
    },
    get isReliedOn() {
      return isReliedOn;
    },
    rely() {
      isReliedOn = true;
    },
    doubt() {
      isDoubtful = true;
    },
    distrust() {
      isDistrusted = true;
    },
  };
}
