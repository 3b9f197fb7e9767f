/** Outlook's own packing of a message (`winmail.dat`), like e-mails; a message inside of it becomes a file of its own. */
import type { ExtractedDocument } from '../../contracts/index.ts';
import { cleanText } from '../clean-text.ts';
import type { ExtractContext, HeldExtractor } from '../extract-file.ts';
import { decodeHtml } from '../html-charset.ts';
import { markdownOfHtml } from '../html-tree.ts';
import { mailText } from '../mail-text.ts';
import { textOfPackedRtf } from '../outlook-rtf.ts';
import { readTnef, type Tnef, type TnefAttachment, type TnefProperties } from '../tnef.ts';

/** Numbers of properties. */
const SUBJECT = 0x0037;
const SENT_AT = 0x0039;
const RECEIVED_AT = 0x0e06;
const RECIPIENT_KIND = 0x0c15;
const SENDER = [0x0c1a, 0x0c1f] as const;
const REPRESENTED = [0x0042, 0x0065] as const;
const RECIPIENT = [0x3001, 0x3003] as const;
const BODY = 0x1000;
const PACKED_RTF = 0x1009;
const HTML = 0x1013;
const NAME = 0x3001;
const DATA = 0x3701;
const SHORT_NAME = 0x3704;
const METHOD = 0x3705;
const LONG_NAME = 0x3707;
const MIME_TYPE = 0x370e;
const HIDDEN = 0x7ffe;
/** The way in which a message is attached. */
const EMBEDDED_MESSAGE = 5;
/** Of what it then is, in front of it. */
const INTERFACE_BYTES = 16;
const TO = 1;
const CC = 2;

export const extractTnef: HeldExtractor = async ({ path }, context) => {
  const message = readTnef(await Bun.file(path).bytes());
  const attachments = addAttachments(message, context);
  return messageText(message, attachments);
};

/** What is attached becomes files; returns their names. */
export function addAttachments(message: Tnef, { addFile }: Pick<ExtractContext, 'addFile'>): string[] {
  return message.attachments.flatMap((attachment) => {
    if (numberOf(attachment.properties, HIDDEN) !== 0) return [];
    const { name, bytes } = fileOf(message, attachment);
    if (!bytes || bytes.length === 0) return [];
    addFile(name, message.text(attachment.properties.get(MIME_TYPE)), bytes);
    return [name];
  });
}

function fileOf({ text }: Tnef, { properties, title, data }: TnefAttachment): { name: string; bytes?: Uint8Array } {
  const said = properties.get(DATA)?.bytes;
  const isMessage = numberOf(properties, METHOD) === EMBEDDED_MESSAGE && said !== undefined;
  const named =
    text(properties.get(LONG_NAME)) || text(title) || text(properties.get(SHORT_NAME)) || text(properties.get(NAME));
  if (isMessage) return { name: `${named || 'message'}.tnef`, bytes: said.subarray(INTERFACE_BYTES) };
  const bytes = data ?? said;
  return { name: named || 'attachment', ...(bytes ? { bytes } : {}) };
}

async function messageText(message: Tnef, attachments: string[]): Promise<ExtractedDocument> {
  const { properties, recipients, text } = message;
  const shown = (from: TnefProperties, [name, address]: readonly [number, number]) => {
    const [who, where] = [text(from.get(name)).trim(), text(from.get(address)).trim()];
    return who && where && who !== where && where.includes('@') ? `${who} <${where}>` : who || where;
  };
  const all = (kind: number) =>
    recipients
      .filter((one) => numberOf(one, RECIPIENT_KIND) === kind)
      .map((one) => shown(one, RECIPIENT))
      .filter((one) => one !== '')
      .join(', ');
  return mailText({
    subject: text(properties.get(SUBJECT)) || text(message.subject),
    from: shown(properties, SENDER) || shown(properties, REPRESENTED),
    to: all(TO),
    cc: all(CC),
    date: dateOf(properties.get(SENT_AT)?.bytes ?? properties.get(RECEIVED_AT)?.bytes),
    body: await bodyOf(message),
    attachments,
  });
}

/** Plain text, else HTML, else what was written as rich text. Clean; empty where there is none. */
export async function bodyOf({ properties, body, text }: Tnef): Promise<string> {
  const plain = cleanText(text(properties.get(BODY)) || text(body)).trim();
  if (plain !== '') return plain;
  const html = properties.get(HTML);
  if (html) return markdownOfHtml(html.wide ? text(html) : decodeHtml(html.bytes));
  const packed = properties.get(PACKED_RTF);
  return packed ? textOfPackedRtf(packed.bytes) : '';
}

const numberOf = (properties: TnefProperties, id: number): number => {
  const bytes = properties.get(id)?.bytes;
  return bytes && bytes.length >= 4 ? bytes.readUInt32LE(0) : 0;
};

/** Tenths of microseconds since 1601. */
function dateOf(time: Buffer | undefined): string | undefined {
  if (!time || time.length < 8) return undefined;
  const ms = Number(time.readBigUInt64LE(0) / 10_000n) - 11_644_473_600_000;
  return Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString() : undefined;
}
