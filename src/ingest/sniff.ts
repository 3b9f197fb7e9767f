/**
 * Decides what a file is from its bytes. The name is believed only where bytes cannot tell: which kind of text a text
 * is. What is not on the allow-list is refused before anything of it is kept, with words for what it looks like.
 *
 * Scripts are text: nothing here runs a document, and it is handed out as an attachment only.
 */
import { open } from 'node:fs/promises';
import { fileTypeFromBuffer } from 'file-type';
import { AppError } from '../kernel/errors.ts';
import { decode, detectCharset } from './charset.ts';
import { readZipDirectory, zipNamesInHead } from './zip-directory.ts';

export const DOCX = 'application/vnd.openxmlformats-officedocument.wordprocessingml.document';

/** What can be read. A type is added here together with its extractor. */
const ALLOWED_MEDIA_TYPES: ReadonlySet<string> = new Set([
  'text/plain',
  'text/markdown',
  'text/html',
  'application/pdf',
  DOCX,
]);

export interface Sniffed {
  mediaType: string;
}

interface Finding {
  mediaType: string;
  /** In words, with its article. */
  label: string;
}

const HEAD_BYTES = 64 * 1024;
/** Readers look for a PDF's header this far into the file (ISO 32000-1, implementation note 13). */
const PDF_HEADER_WITHIN = 1024;

/**
 * Decides by the first bytes alone: up to 64 KiB. Throws `unsupported_media_type` for what cannot be read, and
 * `invalid_request` for an empty file. A DOCX whose head names none of its parts needs `sniffFile`.
 */
export async function sniffMediaType(head: Uint8Array, filename: string): Promise<Sniffed> {
  return allow(await find(head, filename, async () => zipNamesInHead(head)));
}

/** The same for a local file, looking into the directory of a ZIP at the end of it. */
export async function sniffFile(path: string, filename: string): Promise<Sniffed> {
  const head = await headOf(path);
  const names = async () => (await readZipDirectory(path))?.map(({ name }) => name) ?? [];
  return allow(await find(head, filename, names));
}

async function headOf(path: string): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const buffer = new Uint8Array(HEAD_BYTES);
    const { bytesRead } = await file.read(buffer, 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

function allow({ mediaType, label }: Finding): Sniffed {
  if (ALLOWED_MEDIA_TYPES.has(mediaType)) return { mediaType };
  throw new AppError(
    'unsupported_media_type',
    `This looks like ${label}, which cannot be read. Text, Markdown, HTML, PDF and DOCX can.`,
  );
}

async function find(head: Uint8Array, filename: string, zipNames: () => Promise<string[]>): Promise<Finding> {
  if (head.length === 0) {
    const message = 'The file is empty.';
    throw new AppError('invalid_request', message, { errors: [{ path: 'file', message }] });
  }
  const latin = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  if (/^(?:\xef\xbb\xbf)?[\s\0]*%PDF-/.test(latin)) return PDF;

  const text = textOf(head);
  const known = TEXTUAL_FORMATS.find(({ start }) => start.test(latin));
  if (known) return known;
  if (text?.clean && !hasPdfHeader(latin, filename)) return textFinding(text.content, filename);

  const type = await fileTypeFromBuffer(head).catch(() => undefined);
  if (type?.mime === 'application/zip' || /^PK[\x03\x05]/.test(latin)) return zipFinding(await zipNames());
  if (type) return { mediaType: type.mime, label: binaryLabel(type.mime, type.ext, latin) };
  if (hasPdfHeader(latin, filename)) return PDF;
  if (text) return textFinding(text.content, filename);
  return { mediaType: 'application/octet-stream', label: 'binary data of an unknown kind' };
}

const PDF: Finding = { mediaType: 'application/pdf', label: 'a PDF' };

/**
 * A PDF behind something else. Mail gateways put a line or two before the header; a page or a program there is a
 * polyglot, which other readers would take for that other thing.
 */
function hasPdfHeader(latin: string, filename: string): boolean {
  const at = latin.slice(0, PDF_HEADER_WITHIN + 5).indexOf('%PDF-');
  if (at < 0 || extensionOf(filename) !== 'pdf') return false;
  return !/<\s*(?:script|html|svg|body|\?php|!doctype)|^#!|^(?:MZ|\x7fELF)/i.test(latin.slice(0, at));
}

/** Formats that are made of text and are no text to read; their first bytes say so. */
const TEXTUAL_FORMATS: readonly (Finding & { start: RegExp })[] = [
  { start: /^\s*\{\\rtf/, mediaType: 'application/rtf', label: 'a rich text (RTF) document' },
  { start: /^%!PS/, mediaType: 'application/postscript', label: 'a PostScript program' },
  {
    start: /^(?:\xef\xbb\xbf)?\s*-----BEGIN PGP MESSAGE/,
    mediaType: 'application/pgp-encrypted',
    label: 'an encrypted message',
  },
  {
    start: /^(?:\xef\xbb\xbf)?BEGIN:V(?:CALENDAR|CARD)\s/,
    mediaType: 'text/calendar',
    label: 'a calendar or contact file',
  },
];

/** The text the bytes make, and whether it is free of control characters; `undefined` for binary data. */
function textOf(head: Uint8Array): { content: string; clean: boolean } | undefined {
  const charset = detectCharset(head, head.length < HEAD_BYTES);
  if (!charset) return undefined;
  const content = decode(head, charset);
  const controls = content.match(/[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/g)?.length ?? 0;
  if (controls === 0) return { content, clean: true };
  return controls <= content.length / 50 ? { content, clean: false } : undefined;
}

/** Text formats that only a name can tell from plain text, because any text would do. */
const BY_EXTENSION: Readonly<Record<string, Finding>> = {
  md: { mediaType: 'text/markdown', label: 'Markdown' },
  markdown: { mediaType: 'text/markdown', label: 'Markdown' },
  csv: { mediaType: 'text/csv', label: 'a table (CSV)' },
  tsv: { mediaType: 'text/tab-separated-values', label: 'a table (TSV)' },
  json: { mediaType: 'application/json', label: 'JSON data' },
  jsonl: { mediaType: 'application/x-ndjson', label: 'JSON data' },
  ndjson: { mediaType: 'application/x-ndjson', label: 'JSON data' },
  ipynb: { mediaType: 'application/x-ipynb+json', label: 'a notebook' },
  xml: { mediaType: 'application/xml', label: 'XML data' },
  eml: { mediaType: 'message/rfc822', label: 'an e-mail' },
  srt: { mediaType: 'application/x-subrip', label: 'subtitles' },
  vtt: { mediaType: 'text/vtt', label: 'subtitles' },
};

function textFinding(content: string, filename: string): Finding {
  const start = afterProlog(content.slice(0, 4096));
  const extension = extensionOf(filename);
  const byName = BY_EXTENSION[extension];
  if (/^(?:<!doctype svg|<svg[\s>])/i.test(start)) return { mediaType: 'image/svg+xml', label: 'an SVG image' };
  if (/^(?:<!doctype\s+html|<html[\s>])/i.test(start)) return { mediaType: 'text/html', label: 'a web page' };
  if (/^(?:\ufeff)?\s*<\?xml\s|^\s*<(?:rss|feed|rdf:rdf)[\s>]/i.test(content.slice(0, 200))) {
    return { mediaType: 'application/xml', label: 'XML data' };
  }
  if (byName) return byName;
  const namedHtml = /^x?html?$/.test(extension);
  if (
    namedHtml ||
    (/^<(?:head|body|div|p|h[1-6]|table|section|article|main|meta|title)[\s>]/i.test(start) && tags(start) > 4)
  ) {
    return { mediaType: 'text/html', label: 'a web page' };
  }
  if (extension === '' && looksLikeMarkdown(content.slice(0, 8192)))
    return { mediaType: 'text/markdown', label: 'Markdown' };
  return { mediaType: 'text/plain', label: 'plain text' };
}

/** What follows the XML declaration and comments. Step by step: a pattern for both would backtrack for ever. */
function afterProlog(text: string): string {
  let rest = text.replace(/^\ufeff/, '').trimStart();
  while (rest.startsWith('<!--') || rest.startsWith('<?')) {
    const end = rest.startsWith('<!--') ? rest.indexOf('-->', 4) + 3 : rest.indexOf('>') + 1;
    if (end < 4) return rest;
    rest = rest.slice(end).trimStart();
  }
  return rest;
}

const tags = (text: string) => text.match(/<\/?[a-z][a-z0-9]*(?:\s[^<>]*)?>/gi)?.length ?? 0;

/** Two different marks of Markdown; one alone is found in plain notes too. */
function looksLikeMarkdown(text: string): boolean {
  const marks = [
    /^#{1,6} \S/m,
    /^(?:```|~~~)/m,
    /\[[^\]\n]+\]\([^)\n]+\)/,
    /^[-*+] \S.*\n[-*+] \S/m,
    /^\|.+\|\n\|[-:| ]+\|/m,
    /\*\*\S[^*\n]*\*\*/,
  ];
  return marks.filter((mark) => mark.test(text)).length >= 2;
}

function zipFinding(names: readonly string[]): Finding {
  const has = (pattern: RegExp) => names.some((name) => pattern.test(name));
  const zip = 'application/zip';
  if (has(/(?:^|\/)vbaProject\.bin$/i)) return { mediaType: zip, label: 'an Office document with macros' };
  if (has(/^META-INF\/MANIFEST\.MF$/) || has(/\.class$/)) return { mediaType: zip, label: 'a Java archive' };
  if (has(/^word\/document\d*\.xml$/) || (has(/^\[Content_Types\]\.xml$/) && has(/^word\//))) {
    return { mediaType: DOCX, label: 'a Word document' };
  }
  if (has(/^xl\//)) return { mediaType: zip, label: 'an Excel workbook (XLSX)' };
  if (has(/^ppt\//)) return { mediaType: zip, label: 'a PowerPoint presentation (PPTX)' };
  if (has(/^META-INF\/container\.xml$/)) return { mediaType: zip, label: 'an e-book (EPUB)' };
  if (has(/^content\.xml$/) && has(/^mimetype$/)) return { mediaType: zip, label: 'an OpenDocument file' };
  if (has(/^AndroidManifest\.xml$/)) return { mediaType: zip, label: 'an Android package' };
  return { mediaType: zip, label: 'a ZIP archive' };
}

function binaryLabel(mediaType: string, extension: string, latin: string): string {
  if (/msdownload|x-elf|mach-binary|java-vm|wasm/.test(mediaType)) return `a program (${extension.toUpperCase()})`;
  if (mediaType === 'application/x-cfb') {
    // The name of the stream, in UTF-16, that password-protected Office documents have.
    return latin.includes('E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e')
      ? 'an encrypted Office document'
      : 'an old Office document (DOC, XLS, PPT, MSG)';
  }
  if (/zip|tar|compress|gzip|bzip|rar|7z|xz|zst|lz|archive|cab|iso9660|debian|rpm/.test(mediaType)) {
    return `an archive (${extension.toUpperCase()})`;
  }
  const family = mediaType.split('/')[0];
  if (family === 'image') return `an image (${extension.toUpperCase()})`;
  if (family === 'audio' || family === 'video') return `${family} (${extension.toUpperCase()})`;
  return `${mediaType} data`;
}

function extensionOf(filename: string): string {
  const dot = filename.lastIndexOf('.');
  return dot < 0 ? '' : filename.slice(dot + 1).toLowerCase();
}
