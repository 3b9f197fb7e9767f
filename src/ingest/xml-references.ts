/**
 * Feeds that people write have HTML's names for characters (`&nbsp;`) and ampersands that are just that (`AT&T`), neither
 * of which XML knows. Both become what is meant before a parser sees them; names that nobody knows stay as they were written.
 */
import { namedCharacter } from './html-entities.ts';

/** No token is longer. */
const LONGEST = 48;
const TOKEN = /<!\[CDATA\[|\]\]>|&(?:(#\d{1,7}|#x[\da-f]{1,6})|([a-z][\w.-]{0,40}));|&/gi;
const OF_XML = new Set(['amp', 'lt', 'gt', 'quot', 'apos']);

/** For a document in pieces of any length. */
export function createReferenceReader(): { push(piece: string): string; end(): string } {
  let held = '';
  /** Where an ampersand is a character like any other. */
  let verbatim = false;

  function meant(name: string): string {
    const text = namedCharacter(name);
    return text === undefined ? `&amp;${name};` : text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  }

  const read = (text: string) =>
    text.replace(TOKEN, (token, number?: string, name?: string) => {
      if (token[0] !== '&') verbatim = token[0] === '<';
      if (verbatim || token[0] !== '&' || number !== undefined) return token;
      if (name === undefined) return '&amp;';
      return OF_XML.has(name) ? token : meant(name);
    });

  return {
    push(piece) {
      const text = held + piece;
      const within = text.slice(-LONGEST).search(/[&<\]]/);
      const cut = within < 0 ? text.length : Math.max(0, text.length - LONGEST) + within;
      held = text.slice(cut);
      return read(text.slice(0, cut));
    },
    end() {
      const rest = read(held);
      held = '';
      return rest;
    },
  };
}
