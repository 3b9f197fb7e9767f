/**
 * E-mails (EML, and mailboxes of them): who wrote to whom, when and about what, then the message. Attachments become files, for documents of
 * their own; a picture that the message shows is not one.
 */
import PostalMime, { type Address, type Email } from 'postal-mime';
import { decode, detectCharset, isUtf8, knownCharset } from '../charset.ts';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { markdownOfHtml } from '../html-tree.ts';
import { mailText } from '../mail-text.ts';
import { isTnef, readTnef, type Tnef } from '../tnef.ts';
import { extractMailbox, isMailbox } from './mailbox.ts';
import { addAttachments, bodyOf as packedBody } from './tnef.ts';

const MAX_NESTING = 40;
const MAX_HEADER_BYTES = 1024 * 1024;
/** What a page or a mail shows or is shown by, and nobody attached. */
const SHOWN = /^(?:image\/|font\/|text\/css|(?:text|application)\/(?:x-)?(?:javascript|font))/i;
/** HTML that says this much more than the plain text beside it is what the sender wrote. */
const MUCH_LONGER = 3;

export const extractEml: HeldExtractor = async ({ path }, { addFile }) => {
  const box = (await isMailbox(path)) ? await extractMailbox(path, { addFile }) : undefined;
  if (box && 'list' in box) return box.list;
  const bytes = box?.only ?? (await Bun.file(path).bytes());
  const mail = await parse(bytes);
  const { subject, from, to, cc, text, html } = isGarbled(mail) ? await parse(await withCharsets(bytes)) : mail;
  // Saved by a browser (MHTML): a page with all that it is made of.
  const isPage = mail.headers.some(({ key, value }) => key === 'content-type' && /^multipart\/related/i.test(value));
  const attached: string[] = [];
  let packed = '';
  for (const { filename, mimeType, content, disposition, related } of mail.attachments) {
    const shown = (isPage || related === true) && disposition !== 'attachment' && SHOWN.test(mimeType);
    const bytes = typeof content === 'string' ? Buffer.from(content) : new Uint8Array(content);
    const message = isTnef(bytes) ? unpacked(bytes) : undefined;
    if (message) {
      attached.push(...addAttachments(message, { addFile }));
      packed ||= await packedBody(message);
      continue;
    }
    if (filename) attached.push(filename);
    if (!shown && bytes.length > 0) addFile(filename ?? nameFor(mimeType), mimeType, bytes);
  }
  const body = bodyOf(text, html) || packed;
  if (body === '' && mail.attachments.some(({ mimeType }) => ENCRYPTED.test(mimeType))) {
    throw new ExtractError('encrypted', 'The e-mail is encrypted (S/MIME or PGP) and cannot be read.');
  }
  return mailText({
    subject,
    from: from && names([from]),
    to: names(to),
    cc: names(cc),
    date: mail.date,
    body,
    attachments: attached,
  });
};

/** What Outlook packs together for Outlook (`winmail.dat`); what is broken stays the file that it is. */
function unpacked(bytes: Uint8Array): Tnef | undefined {
  try {
    return readTnef(bytes);
  } catch {
    return undefined;
  }
}

const ENCRYPTED = /^application\/(?:(?:x-)?pkcs7-mime|pgp-encrypted)$/i;

/** The plain text, unless it is a stub that asks for a program that shows the rest. */
function bodyOf(text: string | undefined, html: string | undefined): string {
  const plain = cleanText(text ?? '').trim();
  if (!html?.trim() || (plain !== '' && html.length < plain.length * MUCH_LONGER)) return plain;
  try {
    const rich = markdownOfHtml(html);
    return rich.length > plain.length * MUCH_LONGER || plain === '' ? rich : plain;
  } catch (error) {
    if (plain === '') throw error;
    return plain;
  }
}

/** What was decoded as UTF-8, for want of another word, and is none. */
function isGarbled({ subject = '', from, text = '', html = '' }: Email): boolean {
  return [subject, from?.name ?? '', text, html].some((part) => part.includes('\ufffd'));
}

/** Mails of old programs do not say what they are written in. The same mail, saying what it looks like. */
async function withCharsets(bytes: Uint8Array): Promise<Uint8Array> {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Read as what has a character for each byte, the text tells its bytes however they were encoded for the way.
  const { text = '', html = '' } = await parse(declared(source, 'windows-1252'));
  const foreign = Buffer.from(Array.from(text + html, (char) => BYTES.get(char) ?? 0x20));
  const found = detectCharset(foreign, true) ?? 'windows-1252';
  const end = /\r?\n\r?\n/.exec(source.subarray(0, MAX_HEADER_BYTES).toString('latin1'))?.index ?? source.length;
  const head = source.subarray(0, end);
  const stated = knownCharset(
    /^content-type:[^;]{0,100};[^\r\n]{0,200}?charset="?([\w.:-]+)/im.exec(head.toString('latin1'))?.[1] ?? '',
  );
  const rest = source.subarray(end);
  const header = isUtf8(head, true) ? head : Buffer.from(decode(head, stated ?? found));
  return declared(Buffer.concat([header, rest]), found);
}

/** Each character of windows-1252 with its byte. */
const BYTES: ReadonlyMap<string, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => [decode(Uint8Array.of(byte), 'windows-1252'), byte]),
);

/** Where parts of text name no charset, they do now. */
function declared(source: Buffer, charset: string): Buffer {
  const text = source.toString('latin1');
  const [head = ''] = text.split(/\r?\n\r?\n/, 1);
  const named = text.replace(/^content-type:[ \t]*text\/(?:[^\r\n]|\r?\n[ \t])*/gim, (field) =>
    /charset\s*=/i.test(field) ? field : `${field.trimEnd()}; charset="${charset}"`,
  );
  const typed = /^content-type:/im.test(head) ? named : `Content-Type: text/plain; charset="${charset}"\r\n${named}`;
  return Buffer.from(typed, 'latin1');
}

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
