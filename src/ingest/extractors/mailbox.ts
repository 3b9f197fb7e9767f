/**
 * Mailboxes (mbox, RFC 4155): each mail becomes a file, for a document of its own, with attachments of its own; the
 * document itself is the list of them. A file that begins as one and holds a single mail is that mail.
 */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { mboxReader } from 'mbox-reader';
import { decodeWords } from 'postal-mime';
import type { ExtractedDocument } from '../../contracts/index.ts';
import { cleanText } from '../clean-text.ts';
import type { ExtractContext } from '../extract-file.ts';
import { separated } from '../mbox-separators.ts';

/** As many as files of one document are taken in. */
const MOST_MAILS = 200;
const MAX_FIELD_CHARS = 200;
const SEPARATOR = /^(?:\ufeff)?From \S/;

/** Whether a file begins with the line that stands before each mail of a mailbox. */
export async function isMailbox(path: string): Promise<boolean> {
  return SEPARATOR.test(await Bun.file(path).slice(0, 64).text());
}

/** The list of the mails, or the bytes of the only one. */
export async function extractMailbox(
  path: string,
  { addFile }: Pick<ExtractContext, 'addFile'>,
): Promise<{ list: ExtractedDocument } | { only: Uint8Array }> {
  const lines: string[] = [];
  let count = 0;
  let first: { content: Uint8Array; name: string } | undefined;
  for await (const { content, headers } of mboxReader(Readable.from(separated(createReadStream(path))))) {
    count += 1;
    if (count > MOST_MAILS) continue;
    const of = (name: string) => fieldOf(headers.get(name)?.[0]);
    const [subject, from, date] = [of('subject'), of('from'), of('date')];
    lines.push(`- ${[subject || '(no subject)', from, date].filter((field) => field !== '').join(' · ')}`);
    const mail = { content, name: `${String(count).padStart(4, '0')} ${subject || 'message'}.eml` };
    // The first one waits until it is known not to be the only one.
    if (first === undefined) first = mail;
    else {
      if (count === 2) addFile(first.name, 'message/rfc822', first.content);
      addFile(mail.name, 'message/rfc822', mail.content);
    }
  }
  if (count < 2) return { only: first?.content ?? new Uint8Array() };
  const more = count - lines.length;
  const rest =
    more > 0 ? [`At most ${MOST_MAILS} mails of a mailbox become documents: ${more} were not taken in.`] : [];
  const text = cleanText([`A mailbox with ${count} mails.`, lines.join('\n'), ...rest].join('\n\n'));
  return { list: { text, title: null, pages: [], headings: [] } };
}

function fieldOf(raw: string | undefined): string {
  return cleanText(decodeWords(raw ?? ''))
    .replace(/[\s/\\]+/g, ' ')
    .trim()
    .slice(0, MAX_FIELD_CHARS)
    .toWellFormed();
}
