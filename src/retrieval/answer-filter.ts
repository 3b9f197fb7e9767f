/**
 * What of a model's answer may reach its reader, decided while it streams. A passage can hold instructions that the model
 * follows all the same; so an answer never makes a browser fetch anything, and leads nowhere that its sources do not:
 *
 * - images and HTML tags are taken out (an image's address could carry away what the model has read); their words stay
 * - links, and bare addresses, stay where the address stands word for word in the passages or the question; of others the
 *   words stay, and a bare address becomes code
 * - citations of passages that do not exist are taken out
 *
 * Code is left as it is: nothing in it is rendered. What may be the beginning of one of these is held back until it is
 * decided; the texts that come out are the answer, and no later step changes it.
 */
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

const FENCE = /^(?:```|~~~)/;
const CITATION = /^[[\u3010]\s*(\d{1,3}(?:\s*[-\u2013,\uff0c\u3001;]\s*\d{1,3})*)\s*[\]\u3011]/;
/** An image or link with its target in round or square brackets, or none. One level of brackets inside its words. */
const LINK =
  /^(!?)\[((?:[^[\]]|\[[^[\]]*\]){0,600})\](?:\(\s*<?([^)\n]{0,2000}?)>?(?:\s+["'(][^\n]*?["')])?\s*\)|\[([^\]\n]{0,200})\]|(:[ \t]*[^\n]{0,2000}))?/;
const TAG = /^<(?:\/?[a-z][^>]{0,2000}|![^>]{0,2000})>/i;
const AUTOLINK = /^<((?:https?|ftp|mailto|data|javascript):[^>\s]{0,2000})>/i;
const URL = /^(?:https?:\/\/|www\.)[^\s<>"'`\])}\u3002\uff0c\uff09\u300d]{1,2000}/i;
const URL_START = /^(?:h(?:t(?:t(?:p(?:s)?)?)?)?:?\/?\/?|w{1,3}\.?)$/i;

interface Step {
  /** Characters that were read; 0: more is needed to decide. */
  taken: number;
  told: string;
}

const HOLD: Step = { taken: 0, told: '' };

export function createAnswerFilter({ citable, isKnownUrl }: AnswerFilterOptions): AnswerFilter {
  let held = '';
  let fence = '';
  let dropped = 0;
  /** The last character told: addresses begin at the beginning of a word. */
  let last = '';

  function take(final: boolean): string {
    let told = '';
    let at = 0;
    while (at < held.length) {
      const isCode = fence !== '';
      const step = next(held.slice(at, at + MOST_HELD), final || held.length - at > MOST_HELD);
      if (step.taken === 0) break;
      // What was taken out between them must not make an image of an exclamation mark and a link.
      const words = !isCode && last === '!' && step.told.startsWith('[') ? ` ${step.told}` : step.told;
      told += words;
      last = words.at(-1) ?? last;
      at += step.taken;
    }
    held = held.slice(at);
    return told;
  }

  function next(rest: string, final: boolean): Step {
    if (fence !== '') return inFence(rest, final);
    const first = rest.charAt(0);
    if (first === '`' || first === '~') return code(rest, final);
    if (first === '!' || first === '[' || first === '\u3010') return bracket(rest, final);
    if (first === '<') return tag(rest, final);
    if (/[hw]/i.test(first) && !/[\p{L}\p{N}]/u.test(last)) return address(rest, final);
    const plain = /^[^`~![\u3010<hwHW]+/.exec(rest)?.[0] ?? first;
    return { taken: plain.length, told: plain };
  }

  function inFence(rest: string, final: boolean): Step {
    const end = rest.indexOf(fence);
    if (end >= 0) {
      const taken = end + fence.length;
      fence = '';
      return { taken, told: rest.slice(0, taken) };
    }
    const safe = final ? rest.length : rest.length - 2;
    return safe > 0 ? { taken: safe, told: rest.slice(0, safe) } : HOLD;
  }

  function code(rest: string, final: boolean): Step {
    if (FENCE.test(rest)) {
      fence = rest.slice(0, 3);
      return { taken: 3, told: fence };
    }
    if (rest.length < 3 && !final) return HOLD;
    const inline = /^`[^`\n]+`/.exec(rest)?.[0];
    if (inline) return { taken: inline.length, told: inline };
    if (!final && rest.startsWith('`') && !/[\n]/.test(rest) && rest.length < MOST_IN_BRACKETS) return HOLD;
    return { taken: 1, told: rest.charAt(0) };
  }

  function bracket(rest: string, final: boolean): Step {
    if (rest.startsWith('!') && !rest.startsWith('![')) {
      return rest.length === 1 && !final ? HOLD : { taken: 1, told: '!' };
    }
    const citation = CITATION.exec(rest);
    if (citation?.[1] !== undefined && !/^[(:[]/.test(rest.slice(citation[0].length))) {
      // What follows tells a citation from a link whose words are a number.
      if (rest.length === citation[0].length && !final) return HOLD;
      return { taken: citation[0].length, told: keptCitation(citation[0], citation[1]) };
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
        ? { taken: whole.length, told: '' }
        : { taken: 1, told: rest.charAt(0) };
    }
    if (image && isOpen) return { taken: 1, told: '!' };
    if (image) return { taken: whole.length, told: inner(words) };
    if (target !== undefined) {
      return isKnownUrl(target.trim()) && isWeb(target)
        ? { taken: whole.length, told: `[${inner(words)}](${target.trim()})` }
        : { taken: whole.length, told: inner(words) };
    }
    if (reference !== undefined && !CITATION.test(`[${reference}]`)) return { taken: whole.length, told: inner(words) };
    return { taken: 1, told: rest.charAt(0) };
  }

  function keptCitation(whole: string, group: string): string {
    const numbers = numbersOf(group);
    const kept = numbers.filter((number) => citable.has(number));
    dropped += numbers.length - kept.length;
    if (kept.length === numbers.length) return whole;
    return kept.length === 0 ? '' : `[${kept.join(', ')}]`;
  }

  function tag(rest: string, final: boolean): Step {
    const link = AUTOLINK.exec(rest);
    if (link?.[1] !== undefined) {
      const known = isWeb(link[1]) && isKnownUrl(link[1]);
      return { taken: link[0].length, told: known ? link[0] : `\`${link[1].replaceAll('`', '')}\`` };
    }
    const found = TAG.exec(rest);
    if (found) return { taken: found[0].length, told: '' };
    if (rest.length === 1 && !final) return HOLD;
    if (!/^<[a-z/!]/i.test(rest)) return { taken: 1, told: '<' };
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
    return { taken: url.length, told: isKnownUrl(url) ? url : `\`${url}\`` };
  }

  /** The words of a link may hold an image themselves. */
  function inner(words: string): string {
    return words.replace(/!?\[([^[\]]*)\](?:\([^)]*\))?/g, '$1').replace(/<[^>]*>?/g, '');
  }

  function giveUp(rest: string, final: boolean): Step {
    return !final && rest.length < MOST_IN_BRACKETS ? HOLD : { taken: 1, told: rest.charAt(0) };
  }

  return {
    write(text) {
      held += text;
      return take(false);
    },
    end: () => take(true),
    get dropped() {
      return dropped;
    },
  };
}

const isWeb = (url: string): boolean => /^(?:https?:\/\/|mailto:)/i.test(url.trim());

function numbersOf(group: string): number[] {
  return group.split(/[,\uff0c\u3001;]/).flatMap((piece) => {
    const [from = 0, to = from] = piece.split(/[-\u2013]/).map((number) => Number.parseInt(number.trim(), 10));
    if (to < from || to - from > 20) return [from];
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}
