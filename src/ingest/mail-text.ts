/** A message as a document: its subject is the title and its head says who wrote to whom, so that it can be asked for. */
import type { ExtractedDocument } from '../contracts/index.ts';
import { cleanText } from './clean-text.ts';

export interface Mail {
  subject: string | undefined;
  from: string | undefined;
  to: string | undefined;
  cc: string | undefined;
  date: string | undefined;
  /** Clean text. */
  body: string;
  /** Their names. */
  attachments: readonly string[];
}

const MAX_FIELD_CHARS = 2000;

export function mailText({ subject, from, to, cc, date, body, attachments }: Mail): ExtractedDocument {
  const title = tidy(subject).slice(0, 500).toWellFormed();
  const fields: [string, string | undefined][] = [
    ['From', from],
    ['To', to],
    ['Cc', cc],
    ['Date', date],
    ['Attachments', attachments.join(', ')],
  ];
  const head = fields
    .map(([name, value]) => [name, tidy(value)])
    .flatMap(([name, value]) => (value ? [`${name}: ${value}`] : []));
  const heading = title && `# ${title}`;
  const text = cleanText([heading, head.join('\n'), body.trim()].filter((block) => block !== '').join('\n\n'));
  const headings = heading ? [{ level: 1, title, start: 0, end: heading.length }] : [];
  return { text, title: title || null, pages: [], headings };
}

function tidy(value: string | undefined): string {
  return cleanText(value ?? '')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, MAX_FIELD_CHARS)
    .toWellFormed();
}
