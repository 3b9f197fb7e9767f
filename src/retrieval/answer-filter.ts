/**
 * What of a model's answer may reach its reader, decided while it streams. A passage can hold instructions that the model
 * follows all the same; so an answer never makes a browser fetch anything, and leads nowhere that its sources do not:
 *
 * - images and HTML tags are taken out (an image's address could carry away what the model has read); their words stay
 * - links, and bare addresses, stay where the address stands word for word in the passages or the question; of others the
 *   words stay, and a bare address becomes code
 * - citations of passages that do not exist are taken out, and all others are told as `[1][2]`, however they came
 *
 * Code is left as it is where every common renderer takes it for code: fences that begin and end as CommonMark says, at most
 * three spaces from the left and outside of lists' and quotes' markers, and code spans that end on their line. Whatever else
 * looks like code is filtered as all other text; so is all that follows it where it leaves open what the rest is.
 *
 * What may be the beginning of one of these is held back until it is decided; the texts that come out are the answer, and no
 * later step changes it.
 */
import { CITATION_FORM, numbersOf } from '../kernel/text/citation-form.ts';
import { createToldText } from './told-text.ts';

export interface AnswerFilterOptions {
  /** The numbers that may be cited. */
  citable: ReadonlySet<number>;
  /** Whether an address is one that the answer was given. */
  isKnownUrl(url: string): boolean;
}

export interface AnswerFilter {
  /** What can be told of the answer now that this has come; may be empty. */
  write(text: string): string;
  /** The rest. */
  end(): string;
  /** Citations taken out because they point nowhere. */
  readonly dropped: number;
}

/** Longer constructs are none: their first character is text. */
const MOST_HELD = 2_048;
const MOST_IN_BRACKETS = 600;

const CITATION = new RegExp(`^${CITATION_FORM}`, 'i');
/** An image or link with its target in round or square brackets, or none. One level of brackets inside its words. */
const LINK =
  /^(!?)\[((?:[^[\]]|\[[^[\]]*\]){0,600})\](?:\(\s*<?([^)\n]{0,2000}?)>?(?:\s+["'(][^\n]*?["')])?\s*\)|\[([^\]\n]{0,200})\]|(:[ \t]*[^\n]{0,2000}))?/;
const TAG = /^<(?:\/?[a-z][^>]{0,2000}|[!?][^>]{0,2000})>/i;
const AUTOLINK = /^<((?:https?|ftp|mailto|data|javascript):[^>\s]{0,2000})>/i;
const URL = /^(?:(?:https?|ftp)\\?:\\?\/\\?\/|www\\?\.)[^\s<>"'`\])}|\u3002\uff0c\uff09\u300d]{1,2000}/i;
const URL_START = /^(?:h(?:t(?:t(?:ps?)?)?)?|f(?:tp?)?|https?\\?:?\\?\/?\\?\/?|ftp\\?:?\\?\/?\\?\/?|w{1,3}\\?\.?)$/i;
/** Within these a renderer that knows tables or formulas sees the end of a cell or formula, not code. */
const NOT_ONLY_CODE = /[|$]|\\[)\]]/;
/** A target that stays what it is between parentheses. */
const IN_PARENTHESES = /^[^\s<>()[\]\\`|&]+$/;
const ADDRESS = /(?:https?|ftp)\\?:\\?\/|www\\?\./i;
/** In code that turned out to be none, this could be more than words. */
const MARKUP = /[[\]<&!:]|www/i;
/** Entities of which an address can be made; all others are left. */
const ENTITY = /^&(?:#|colon;|sol;|period;|bsol;)/i;

interface Step {
  /** Characters that were read; 0: more is needed to decide. */
  taken: number;
  told: string;
  /** Something was taken out at its beginning or end. */
  cut?: boolean;
  /** Told without a space before it. */
  asIs?: boolean;
}

/** A code block that is open. */
interface Fence {
  mark: string;
  length: number;
  indent: number;
}

const HOLD: Step = { taken: 0, told: '' };

export function createAnswerFilter({ citable, isKnownUrl }: AnswerFilterOptions): AnswerFilter {
  const text = createToldText();
  let held = '';
  let fence: Fence | undefined;
  /** Within a fence: the beginning of this line was told. */
  let isWithinLine = false;
  let wasReturn = false;
  let dropped = 0;

  function take(final: boolean): string {
    let told = '';
    let at = 0;
    while (at < held.length) {
      const step = next(held.slice(at, at + MOST_HELD), final || held.length - at > MOST_HELD);
      if (step.taken === 0) break;
      told += text.add(step.told, step);
      at += step.taken;
    }
    held = held.slice(at);
    return told;
  }

  function next(rest: string, final: boolean): Step {
    if (fence) {
      const step = inFence(fence, rest, final);
      if (step) return step;
      // Some take it for the end, and some do not.
      fence = undefined;
      text.distrust();
    }
    const first = rest.charAt(0);
    if (first === '`' || first === '~') return code(rest, final);
    if (first === '!' || first === '[' || first === '\u3010' || first === '\uff3b') return bracket(rest, final);
    if (first === '<') return tag(rest, final);
    if (first === '&') return entity(rest, final);
    if (/[fhw]/i.test(first)) return address(rest, final);
    const plain = /^[^`~![\]\u3010\uff3b<&fhwFHW]+/.exec(rest)?.[0] ?? first;
    return { taken: plain.length, told: plain };
  }

  /** Undefined: at this line it is not certain that the fence goes on. */
  function inFence({ mark, length, indent }: Fence, rest: string, final: boolean): Step | undefined {
    if (!isWithinLine) {
      const [space = ''] = /^[ \t]*/.exec(rest) ?? [];
      if (space.length === rest.length && !final) return HOLD;
      const begun = rest.slice(space.length);
      const isBlank = begun === '' || begun.startsWith('\n');
      // In a list, a line that is less indented ends the item and the fence in it.
      if (!isBlank && (/^ */.exec(space)?.[0].length ?? 0) < indent) return undefined;
      const [run = ''] = (mark === '`' ? /^`*/ : /^~*/).exec(begun) ?? [];
      const [tail = ''] = /^[`~ \t]*/.exec(begun) ?? [];
      if (tail.length === begun.length && tail !== '' && !final) return HOLD;
      const isLikeEnd = run.length >= length && (tail.length === begun.length || begun.charAt(tail.length) === '\n');
      if (isLikeEnd) {
        if (space !== ' '.repeat(indent) || /[^ ]/.test(tail.slice(run.length))) return undefined;
        fence = undefined;
        const taken = space.length + tail.length;
        return { taken, told: rest.slice(0, taken), asIs: true };
      }
      isWithinLine = true;
    }
    const end = rest.indexOf('\n');
    const taken = end < 0 ? rest.length : end + 1;
    if (end >= 0) isWithinLine = false;
    return { taken, told: rest.slice(0, taken), asIs: true };
  }

  function code(rest: string, final: boolean): Step {
    const [run = ''] = /^(?:`+|~+)/.exec(rest) ?? [];
    if (run.length === rest.length && !final) return HOLD;
    if (run.length >= 3 && text.indent !== undefined && text.trustsBlocks) {
      const end = rest.indexOf('\n');
      if (end < 0 && !final && rest.length < MOST_IN_BRACKETS) return HOLD;
      const length = end < 0 ? rest.length : end;
      const info = rest.slice(run.length, length);
      if (length < MOST_IN_BRACKETS && !(run.startsWith('`') && info.includes('`'))) {
        fence = { mark: run.charAt(0), length: run.length, indent: text.indent };
        isWithinLine = end < 0;
        return { taken: end < 0 ? length : length + 1, told: rest.slice(0, end < 0 ? length : length + 1) };
      }
    }
    if (run.startsWith('`') && text.trustsSpans && text.last !== '\\' && text.last !== '`') {
      const [span = '', , content = '', close = ''] = /^(`+)([^`\n]+)(`*)/.exec(rest) ?? [];
      if (span.length === rest.length && !final && rest.length < MOST_IN_BRACKETS) return HOLD;
      const isSpan = close.length === run.length && span.length < MOST_IN_BRACKETS;
      if (isSpan && !NOT_ONLY_CODE.test(content)) {
        if (MARKUP.test(content)) text.rely();
        return { taken: span.length, told: span };
      }
    }
    if (run.startsWith('`')) text.doubt();
    if (run.length >= 3) text.distrust();
    if (run.startsWith('`') && text.isReliedOn) {
      const escaped = run.replaceAll('`', '\\`');
      return { taken: run.length, told: text.last === '\\' ? ` ${escaped}` : escaped };
    }
    return { taken: run.length, told: run, asIs: text.last === '\\' };
  }

  function entity(rest: string, final: boolean): Step {
    if (rest.length < 8 && !/[\s;]/.test(rest) && !final) return HOLD;
    return { taken: 1, told: ENTITY.test(rest) ? '&amp;' : '&' };
  }

  function bracket(rest: string, final: boolean): Step {
    if (rest.startsWith('!') && !rest.startsWith('![')) {
      return rest.length === 1 && !final ? HOLD : { taken: 1, told: '!' };
    }
    const citation = CITATION.exec(rest);
    if (citation?.[1] !== undefined) {
      // What follows tells a citation from a link whose words are a number; another citation makes none of it.
      const behind = rest.slice(citation[0].length);
      if (!final && /^(?:\[[^\]\n]{0,120})?$/.test(behind)) return HOLD;
      if (!/^[(:[]/.test(behind) || CITATION.test(behind)) {
        return { taken: citation[0].length, told: keptCitation(citation[1]), cut: true };
      }
    }
    const link = LINK.exec(rest);
    if (!link) return giveUp(rest, final);
    const [whole, image, words = '', target, reference, definition] = link;
    const isOpen = target === undefined && reference === undefined;
    if (!final && (whole.length === rest.length ? isOpen : isOpen && /^[([]/.test(rest.slice(whole.length))))
      return HOLD;
    if (definition !== undefined) {
      if (!final && !rest.includes('\n')) return HOLD;
      return /^:\s*<?[a-z][a-z+.-]*:|^:\s*<?(?:\/\/|www\.)/i.test(definition)
        ? { taken: whole.length, told: '', cut: true }
        : { taken: 1, told: rest.charAt(0) };
    }
    if (image && isOpen) return { taken: 1, told: '!' };
    if (image) return { taken: whole.length, told: inner(words), cut: true };
    if (target !== undefined) {
      const url = target.trim();
      // Behind a backslash the bracket begins no link.
      const isLink = isKnownUrl(url) && isWeb(url) && IN_PARENTHESES.test(url) && text.last !== '\\';
      return isLink
        ? { taken: whole.length, told: `[${inner(words, url)}](${url})` }
        : { taken: whole.length, told: inner(words), cut: true };
    }
    if (reference !== undefined && !CITATION.test(`[${reference}]`)) {
      return { taken: whole.length, told: inner(words), cut: true };
    }
    return { taken: 1, told: rest.charAt(0) };
  }

  function keptCitation(group: string): string {
    const numbers = numbersOf(group);
    const kept = numbers.filter((number) => citable.has(number));
    dropped += numbers.length - kept.length;
    return kept.map((number) => `[${number}]`).join('');
  }

  function tag(rest: string, final: boolean): Step {
    const link = AUTOLINK.exec(rest);
    if (link?.[1] !== undefined) {
      const known = isWeb(link[1]) && isKnownUrl(link[1]) && text.last !== '\\';
      return { taken: link[0].length, told: known ? link[0] : unlinked(link[1]), cut: true };
    }
    const found = TAG.exec(rest);
    if (found) return { taken: found[0].length, told: '', cut: true };
    if (rest.length === 1 && !final) return HOLD;
    if (!/^<[a-z/!?]/i.test(rest)) return { taken: 1, told: '<' };
    // An opening that never closes is shown, and cannot become a tag.
    return !final && rest.length < MOST_HELD ? HOLD : { taken: 1, told: '&lt;' };
  }

  function address(rest: string, final: boolean): Step {
    const found = URL.exec(rest)?.[0];
    if (!found) {
      return !final && URL_START.test(rest) ? HOLD : { taken: 1, told: rest.charAt(0) };
    }
    if (!final && found.length === rest.length) return HOLD;
    const url = found.replace(/[.,;:!?*_]+$/, '');
    if (!isKnownUrl(url)) return { taken: url.length, told: unlinked(url), cut: true };
    // What follows must not become a part of it.
    const [, after = ''] = /^[?!.,:*_'")~]*([^?!.,:*_'")~]?)/.exec(rest.slice(url.length)) ?? [];
    if (after === '' && !final) return HOLD;
    if (/^\s?$/.test(after)) return { taken: url.length, told: url };
    return { taken: url.length, told: isWeb(url) && text.last !== '\\' ? `<${url}>` : unlinked(url), cut: true };
  }

  /** An address that leads nowhere: code, or, where code is not certain, one with a space in it. */
  function unlinked(url: string): string {
    const bare = url.replace(/[`\\]/g, '');
    if (!text.trustsSpans || NOT_ONLY_CODE.test(bare)) return apart(bare);
    text.rely();
    return `\`${bare}\``;
  }

  /** The words of a link may hold an image themselves, or be an address; what they cannot do is begin a block. */
  function inner(words: string, target?: string): string {
    const bare = words
      .replace(/!?\[([^[\]]*)\](?:\([^)]*\))?/g, '$1')
      .replace(/<[^>]*>?/g, ' ')
      .replace(/[[\]]/g, '')
      .replace(/~{3,}/g, '~~')
      .replace(/&(?=#|colon;|sol;|period;|bsol;)/gi, '&amp;')
      .replace(/\s+/g, ' ');
    const hasAddress = ADDRESS.test(bare);
    const isCode = !hasAddress && /^[^`]*(?:`[^`|$\\]+`[^`]+)*(?:`[^`|$\\]+`)?$/.test(bare) && !/\\`/.test(bare);
    const plain = isCode && text.trustsSpans ? bare : bare.replaceAll('`', '');
    return hasAddress && words !== target ? apart(plain) : plain;
  }

  function giveUp(rest: string, final: boolean): Step {
    return !final && rest.length < MOST_IN_BRACKETS ? HOLD : { taken: 1, told: rest.charAt(0) };
  }

  return {
    write(piece) {
      if (piece === '') return '';
      // All ends of lines are the same: a renderer knows three.
      const lines = (wasReturn && piece.startsWith('\n') ? piece.slice(1) : piece).replace(/\r\n?/g, '\n');
      wasReturn = piece.endsWith('\r');
      held += lines;
      return take(false);
    },
    end: () => take(true),
    get dropped() {
      return dropped;
    },
  };
}

/** An address with a space in it, so that no renderer makes a link of it. */
const apart = (url: string): string =>
  url
    .replace(/&(?!amp;)/g, '&amp;')
    .replace(/:(?=\\?\/)/g, '$& ')
    .replace(/(www)(?=\\?\.)/gi, '$1 ');

const isWeb = (url: string): boolean => /^(?:https?:\/\/|mailto:)/i.test(url.trim());
