/** Outlook's messages (MSG), like e-mails; messages inside of them become files of their own. */
import MsgReader from '@kenjiuno/msgreader';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { decodeHtml } from '../html-charset.ts';
import { markdownOfHtml } from '../html-tree.ts';
import { mailText } from '../mail-text.ts';
import { textOfPackedRtf } from '../outlook-rtf.ts';

type Fields = ReturnType<MsgReader['getFileData']>;

export const extractMsg: HeldExtractor = async ({ path }, { addFile }) => {
  const bytes = await Bun.file(path).arrayBuffer();
  const reader = new MsgReader(bytes);
  const message = guarded(() => reader.getFileData());
  if (message.error) throw new ExtractError('corrupt', 'The message is damaged and cannot be read.');
  const attachments = (message.attachments ?? []).filter(({ attachmentHidden }) => attachmentHidden !== true);
  for (const attachment of attachments) {
    const { fileName, content } = guarded(() => reader.getAttachment(attachment));
    if (content.length > 0)
      addFile(fileName || attachment.fileName || 'attachment', attachment.attachMimeTag ?? '', content);
  }
  const recipients = (kind: string) =>
    (message.recipients ?? [])
      .filter(({ recipType }) => recipType === kind)
      .map(({ name, smtpAddress, email }) => shown(name, smtpAddress ?? email))
      .filter((one) => one !== '')
      .join(', ');
  return mailText({
    subject: message.subject,
    from: shown(message.senderName, message.senderSmtpAddress ?? message.senderEmail),
    to: recipients('to'),
    cc: recipients('cc'),
    date:
      message.messageDeliveryTime ?? message.clientSubmitTime ?? /^Date:\s*(.+)$/im.exec(message.headers ?? '')?.[1],
    body: await bodyOf(message),
    attachments: attachments.flatMap(({ fileName }) => fileName ?? []),
  });
};

/** Plain text, else HTML, else what was written as rich text. */
async function bodyOf(message: Fields): Promise<string> {
  if (message.body?.trim()) return cleanText(message.body);
  if (message.bodyHtml?.trim()) return markdownOfHtml(message.bodyHtml);
  if (message.html) return markdownOfHtml(decodeHtml(message.html));
  return message.compressedRtf ? textOfPackedRtf(message.compressedRtf) : '';
}

/** The library throws whatever it trips over. */
function guarded<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) throw error;
    throw new ExtractError('corrupt', 'The message is damaged and cannot be read.', error);
  }
}

function shown(name: string | undefined, address: string | undefined): string {
  return name && address && name !== address ? `${name} <${address}>` : (address ?? name ?? '');
}
