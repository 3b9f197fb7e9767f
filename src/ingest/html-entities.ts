/** Characters by HTML's names and numbers, as `&eacute;` and `&#233;`, in text that comes from elsewhere than a parser of HTML. */
import { parseHTML } from 'linkedom';

const REFERENCE = /&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z][\da-z]{1,40}));/gi;
const MAX_KNOWN = 3000;
const COMMON: readonly (readonly [string, string])[] = [
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['quot', '"'],
  ['apos', "'"],
];
/** HTML has some two thousand names; those that were asked for are kept. */
const known = new Map<string, string | undefined>(COMMON);

/** What a name stands for, case and all; `undefined` for one that HTML does not know. */
export function namedCharacter(name: string): string | undefined {
  if (known.has(name)) return known.get(name);
  const text = parseHTML(`<p>&${name};</p>`).document.querySelector('p')?.textContent ?? '';
  const character = text === '' || text === `&${name};` ? undefined : text;
  if (known.size < MAX_KNOWN) known.set(name, character);
  return character;
}

/** References that end in a semicolon; others are part of an address more often than not. */
export function decodeEntities(text: string): string {
  if (!text.includes('&')) return text;
  return text.replace(REFERENCE, (whole, decimal?: string, hex?: string, name?: string) => {
    if (name !== undefined) return namedCharacter(name) ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex ?? '', 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff && (code & 0xf800) !== 0xd800 ? String.fromCodePoint(code) : whole;
  });
}
