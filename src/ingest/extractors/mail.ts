/**
 * E-mails (EML, and mailboxes of them): who wrote to whom, when and about what, then the message. Attachments become files, for documents of
 * their own; a picture that the message shows is not one.
 */
import PostalMime, { type Address, type Email } from 'postal-mime';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { markdownOfHtml } from '../html-tree.ts';
import { mailText } from '../mail-text.ts';
import { extractMailbox, isMailbox } from './mailbox.ts';

const MAX_NESTING = 40;
const MAX_HEADER_BYTES = 1024 * 1024;

export const extractEml: HeldExtractor = async ({ path }, { addFile }) => {
  const box = (await isMailbox(path)) ? await extractMailbox(path, { addFile }) : undefined;
  if (box && 'list' in box) return box.list;
  const mail = await parse(box?.only ?? (await Bun.file(path).bytes()));
  for (const { filename, mimeType, content, disposition, related } of mail.attachments) {
    const shown = related === true && disposition !== 'attachment' && mimeType.startsWith('image/');
    if (shown) continue;
    const bytes = typeof content === 'string' ? Buffer.from(content) : new Uint8Array(content);
    if (bytes.length > 0) addFile(filename ?? nameFor(mimeType), mimeType, bytes);
  }
  const text = mail.text?.trim() ? mail.text : mail.html ? markdownOfHtml(mail.html) : '';
  return mailText({
    subject: mail.subject,
    from: mail.from && names([mail.from]),
    to: names(mail.to),
    cc: names(mail.cc),
    date: mail.date,
    body: cleanText(text),
    attachments: mail.attachments.flatMap(({ filename }) => filename ?? []),
  });
};

async function parse(bytes: Uint8Array): Promise<Email> {
  try {
    return await PostalMime.parse(bytes, {
      maxNestingDepth: MAX_NESTING,
      maxHeadersSize: MAX_HEADER_BYTES,
      // A forwarded mail is a document of its own, with attachments of its own.
      forceRfc822Attachments: true,
      attachmentEncoding: 'arraybuffer',
    });
  } catch (error) {
    if (error instanceof RangeError) throw error;
    if (error instanceof Error && /nesting|headers? size|exceed/i.test(error.message)) {
      throw new ExtractError('limits_exceeded', 'The e-mail is nested more deeply than a document may be.', error);
    }
    throw new ExtractError('corrupt', 'The e-mail is damaged and cannot be read.', error);
  }
}

function names(addresses: readonly Address[] | undefined): string {
  return (addresses ?? [])
    .flatMap((address) => (address.group ? address.group : [address]))
    .map(({ name, address }) => (name && address ? `${name} <${address}>` : name || address || ''))
    .filter((shown) => shown !== '')
    .join(', ');
}

function nameFor(mimeType: string): string {
  if (mimeType === 'message/rfc822') return 'message.eml';
  const ending = /^[a-z]+\/([a-z0-9]{1,8})$/i.exec(mimeType)?.[1];
  return ending ? `attachment.${ending}` : 'attachment';
}
