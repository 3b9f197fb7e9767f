/** Rich text (RTF) through officeparser. */
import type { HeldExtractor } from '../extract-file.ts';
import { parseOffice, plain } from './office.ts';

/** Marks that the parser passes over, as the characters they stand for. */
const SYMBOLS: Readonly<Record<string, number>> = {
  emdash: 0x2014,
  endash: 0x2013,
  bullet: 0x2022,
  lquote: 0x2018,
  rquote: 0x2019,
  ldblquote: 0x201c,
  rdblquote: 0x201d,
  emspace: 0x20,
  enspace: 0x20,
};
/** The same in one sign: blanks and hyphens at which a line does not end, and hyphens that show only at its end. */
const SIGNS: Readonly<Record<string, string>> = { '~': '{\\uc0\\u32 }', _: '{\\uc0\\u8209 }', '-': '' };
// Two backslashes are one that is text, whatever follows.
const SYMBOL = new RegExp(`\\\\(?:\\\\|([~_-])|(${Object.keys(SYMBOLS).join('|')})(?![a-z0-9-]) ?)`, 'g');

export const extractRtf: HeldExtractor = async ({ path }) => readRtf(Buffer.from(await Bun.file(path).bytes()));

/** Also for RTF that is part of something else: a message of Outlook. */
export async function readRtf(bytes: Buffer) {
  // Latin-1 keeps every byte: text in other code pages stays as it was.
  const source = bytes.toString('latin1').replace(SYMBOL, (whole, sign?: string, name?: string) => {
    if (sign !== undefined) return SIGNS[sign] ?? '';
    return name === undefined ? whole : `{\\uc0\\u${SYMBOLS[name]} }`;
  });
  const tree = await parseOffice(Buffer.from(source, 'latin1'), 'rtf', 'The RTF document');
  const document = plain(tree);
  const title = /\{\\title ([^{}\\]{1,300})\}/.exec(source)?.[1]?.trim() || document.title;
  return { ...document, title };
}
