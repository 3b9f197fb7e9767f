/**
 * Decides what a file is from its bytes. The name is believed only where bytes cannot tell: which kind of text a text
 * is. What is not on the allow-list is refused before anything of it is kept, with words for what it looks like.
 *
 * Scripts are text: nothing here runs a document, and it is handed out as an attachment only.
 */
import { open } from 'node:fs/promises';
import { fileTypeFromBuffer } from 'file-type';
import { AppError } from '../kernel/errors.ts';
import { isCfb, readCfbNames } from './cfb-directory.ts';
import { decode, detectCharset } from './charset.ts';
import * as type from './media-types.ts';
import { flatKind } from './odf-flat.ts';
import { isTnef } from './tnef.ts';
import { hasTrailingZip, readZipDirectory, zipNamesInHead } from './zip-directory.ts';
import { unpackZip } from './zip-limits.ts';

export interface Sniffed {
  mediaType: string;
}

interface Finding {
  mediaType: string;
  /** In words, with its article. */
  label: string;
  /** What its owner could do to have it read; a whole sentence. */
  advice?: string;
}

const HEAD_BYTES = 64 * 1024;
/** The first element of a flat OpenDocument names some forty namespaces before it says what it is. */
const MAX_ROOT_CHARS = 32 * 1024;
/** Readers look for a PDF's header this far into the file (ISO 32000-1, implementation note 13). */
const PDF_HEADER_WITHIN = 1024;

/**
 * Decides by the first bytes alone: up to 64 KiB. Throws `unsupported_media_type` for what cannot be read, and
 * `invalid_request` for an empty file. What `needsWholeFile` says so of needs `sniffFile`, and is refused here.
 */
export async function sniffMediaType(head: Uint8Array, filename: string): Promise<Sniffed> {
  return allow(
    await find(head, filename, {
      zip: async () => zipNamesInHead(head),
      cfb: async () => [],
      kind: async () => undefined,
    }),
  );
}

/** Whether the first bytes are not enough: containers say at their end what is in them, and so do disguised ones. */
export function needsWholeFile(head: Uint8Array): boolean {
  const start = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, PDF_HEADER_WITHIN)).toString('latin1');
  return isCfb(head) || /^PK|%PDF-|^\x89PNG|^\xff\xd8\xff|^RIFF|^BM|^GIF8|^II\*\0|^MM\0\*/.test(start);
}

/** The same for a local file, looking into the directory of a container and at the end of what is none. */
export async function sniffFile(path: string, filename: string): Promise<Sniffed> {
  const head = await headOf(path);
  const found = await find(head, filename, {
    zip: async () => (await readZipDirectory(path))?.map(({ name }) => name) ?? [],
    cfb: async () => (await readCfbNames(path)) ?? [],
    kind: () => openDocumentKind(path),
  });
  const allowed = allow(found);
  const isZip = head[0] === 0x50 && head[1] === 0x4b;
  if (!isZip && (await hasTrailingZip(path))) {
    throw refusal(`${found.label} with a ZIP archive hidden behind it`);
  }
  return allowed;
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

function allow({ mediaType, label, advice }: Finding): Sniffed {
  if (type.READABLE.has(mediaType)) return { mediaType };
  throw refusal(label, advice);
}

const READABLE_IN_WORDS =
  'Text, Markdown, HTML, PDF, Office and OpenDocument files, e-books, e-mails, tables, JSON, XML, subtitles and pictures of text can.';

function refusal(label: string, advice = READABLE_IN_WORDS): AppError {
  return new AppError('unsupported_media_type', `This looks like ${label}, which cannot be read. ${advice}`);
}

const UNLOCK = 'Remove its password and send it again.';
const UNPACK = 'Unpack it and send what is inside.';
const SAVE_AS_PNG = 'Save it as PNG or JPEG and send it again.';
const SAVE_AS_PPTX = 'Save it as PPTX and send it again.';
const SAVE_AS_PDF = 'Save it as PDF and send it again.';
const NO_MACROS = 'Save it without its macros and send it again.';

/** Names of what is in a container. */
interface Inside {
  zip(): Promise<string[]>;
  cfb(): Promise<string[]>;
  /** What an OpenDocument file says it is: `text`, `spreadsheet` … */
  kind(): Promise<string | undefined>;
}

async function find(head: Uint8Array, filename: string, inside: Inside): Promise<Finding> {
  if (head.length === 0) {
    const message = 'The file is empty.';
    throw new AppError('invalid_request', message, { errors: [{ path: 'file', message }] });
  }
  const latin = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1');
  if (/^(?:\xef\xbb\xbf)?[\s\0]*%PDF-/.test(latin)) return PDF;

  if (isCfb(head)) return cfbFinding(await inside.cfb());
  if (isTnef(head)) return { mediaType: type.TNEF, label: 'an Outlook message (winmail.dat)' };
  const text = textOf(head);
  const known = TEXTUAL_FORMATS.find(({ start }) => start.test(latin));
  if (known) return known;
  if (/^(?:II[*+]\0|MM\0[*+])/.test(latin)) return tiffFinding(await typeOf(head), latin);
  if (/^GIF8[79]a\S/.test(latin)) return gifFinding(latin, text?.clean === true);
  if (text && isPageBeforePdf(latin)) return { mediaType: POLYGLOT, label: 'a web page with a PDF behind it' };
  if (text?.clean && !hasPdfHeader(latin, filename)) return textFinding(text.content, filename);

  const found = await typeOf(head);
  if (found?.mime === 'application/zip' || /^PK[\x03\x05]/.test(latin)) {
    const finding = zipFinding(await inside.zip());
    return finding === OPEN_DOCUMENT ? openDocumentFinding(await inside.kind(), filename) : finding;
  }
  if (found && isMarkup(latin))
    return { mediaType: found.mime, label: `${binaryLabel(found.mime, found.ext)} with a web page in it` };
  // Its first picture is a PNG to those that know no other.
  if (found?.mime === 'image/apng') return { mediaType: 'image/png', label: 'an image (PNG)' };
  if (found) return binaryFinding(found.mime, found.ext);
  if (hasPdfHeader(latin, filename)) return PDF;
  if (text) return textFinding(text.content, filename);
  return { mediaType: 'application/octet-stream', label: 'binary data of an unknown kind' };
}

/** What the library breaks on is of no kind that it knows. */
const typeOf = (head: Uint8Array) => fileTypeFromBuffer(head).catch(() => undefined);

/** Raw photographs begin as scans do; what tells them apart may lie beyond what is looked at. */
function tiffFinding(found: Awaited<ReturnType<typeof typeOf>>, latin: string): Finding {
  if (isMarkup(latin)) return { mediaType: POLYGLOT, label: 'an image (TIF) with a web page in it' };
  if (found && found.mime !== type.TIFF) return binaryFinding(found.mime, found.ext);
  return { mediaType: type.TIFF, label: 'an image (TIF)' };
}

/** Comments of a script can follow the mark of a picture; then the whole is text, which no picture is. */
function gifFinding(latin: string, clean: boolean): Finding {
  if (clean) return { mediaType: POLYGLOT, label: 'an image (GIF) that is a script' };
  if (isMarkup(latin)) return { mediaType: POLYGLOT, label: 'an image (GIF) with a web page in it' };
  return { mediaType: type.GIF, label: 'an image (GIF)' };
}

const POLYGLOT = 'application/x-polyglot';

const PDF: Finding = { mediaType: type.PDF, label: 'a PDF' };

/**
 * A PDF behind something else. Mail gateways put a line or two before the header; a page or a program there is a
 * polyglot, which other readers would take for that other thing.
 */
function hasPdfHeader(latin: string, filename: string): boolean {
  const at = latin.slice(0, PDF_HEADER_WITHIN + 5).indexOf('%PDF-');
  if (at < 0 || extensionOf(filename) !== 'pdf') return false;
  return !/<\s*(?:script|html|svg|body|\?php|!doctype)|^#!|^(?:MZ|\x7fELF)/i.test(latin.slice(0, at));
}

/** What a browser opens as a page and a reader of PDFs as a PDF. Pages that write about PDFs do so within a line. */
function isPageBeforePdf(latin: string): boolean {
  const at = latin.slice(0, PDF_HEADER_WITHIN).search(/\n%PDF-\d\.\d[\r\n]/);
  return at >= 0 && isMarkup(latin.slice(0, at + 1));
}

/** Formats that are made of text and are no text to read; their first bytes say so. */
const TEXTUAL_FORMATS: readonly (Finding & { start: RegExp })[] = [
  { start: /^\s*\{\\rtf/, mediaType: type.RTF, label: 'a rich text (RTF) document' },
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
  // Bytes of pixels follow, which could be letters of some alphabet.
  {
    start: /^P[4-6]\s(?:#[^\n]{0,200}\n){0,20}\s{0,9}\d{1,6}\s{1,9}\d{1,6}\s/,
    mediaType: 'image/x-portable-anymap',
    label: 'an image (PNM)',
    advice: SAVE_AS_PNG,
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
  md: { mediaType: type.MARKDOWN, label: 'Markdown' },
  markdown: { mediaType: type.MARKDOWN, label: 'Markdown' },
  csv: { mediaType: type.CSV, label: 'a table (CSV)' },
  tsv: { mediaType: type.TSV, label: 'a table (TSV)' },
  json: { mediaType: type.JSON_TYPE, label: 'JSON data' },
  jsonl: { mediaType: type.JSON_LINES, label: 'JSON data' },
  ndjson: { mediaType: type.JSON_LINES, label: 'JSON data' },
  ipynb: { mediaType: type.NOTEBOOK, label: 'a notebook' },
  srt: { mediaType: type.SRT, label: 'subtitles' },
  vtt: { mediaType: type.VTT, label: 'subtitles' },
};

/** Source code and settings in which pages, mails or markup may be, and which are neither. */
const SOURCE_CODE = new Set(
  'php phtml jsx tsx js mjs cjs ts vue svelte astro erb ejs hbs mustache handlebars jinja jinja2 j2 twig liquid njk jsp aspx cshtml tmpl tpl yaml yml toml ini cfg conf properties env'.split(
    ' ',
  ),
);

const EMAIL: Finding = { mediaType: type.EML, label: 'an e-mail' };

function textFinding(content: string, filename: string): Finding {
  const start = afterProlog(content.slice(0, 4096));
  const extension = extensionOf(filename);
  if (SOURCE_CODE.has(extension)) return { mediaType: type.PLAIN, label: 'source code' };
  if (/^(?:<!doctype svg|<svg[\s>])/i.test(start)) return { mediaType: 'image/svg+xml', label: 'an SVG image' };
  if (/^(?:<!doctype\s+html|<html[\s>])/i.test(start)) return { mediaType: type.HTML, label: 'a web page' };
  if (start.startsWith('<office:document')) return flatFinding(flatKind(content.slice(0, MAX_ROOT_CHARS)));
  if (/^(?:\ufeff)?\s*<\?xml\s|^\s*<(?:rss|feed|rdf:rdf)[\s>]/i.test(content.slice(0, 200))) {
    return { mediaType: type.XML, label: 'XML data' };
  }
  if (/^(?:\ufeff)?WEBVTT(?:\s|$)/.test(content)) return { mediaType: type.VTT, label: 'subtitles' };
  if (isMail(content, extension)) return EMAIL;
  const byName = BY_EXTENSION[extension];
  if (byName) return byName;
  if (extension === 'xml' && start.startsWith('<')) return { mediaType: type.XML, label: 'XML data' };
  const namedHtml = /^x?html?$/.test(extension);
  if (
    namedHtml ||
    (/^<(?:head|body|div|p|h[1-6]|table|section|article|main|meta|title)[\s>]/i.test(start) && tags(start) > 4)
  ) {
    return { mediaType: type.HTML, label: 'a web page' };
  }
  if (extension === '' && looksLikeMarkdown(content.slice(0, 8192))) {
    return { mediaType: type.MARKDOWN, label: 'Markdown' };
  }
  return { mediaType: type.PLAIN, label: 'plain text' };
}

/** A memo says from whom to whom and about what as well: a header that programs write makes it a mail. */
function isMail(content: string, extension: string): boolean {
  const headers = headersOf(content);
  if (headers.size > 0 && (extension === 'eml' || extension === 'mbox')) return true;
  return headers.size >= 3 && headers.values().some((name) => WRITTEN_BY_PROGRAMS.has(name));
}

/** Different headers of a mail at the beginning of a text, up to its first line that is none. */
function headersOf(content: string): Set<string> {
  const known = new Set<string>();
  // A mailbox's line before the mail itself.
  const lines = content
    .slice(0, 16_384)
    .replace(/^(?:\ufeff)?(?:>?From \S.*\r?\n)?/, '')
    .split(/\r?\n/);
  for (const line of lines) {
    const name = /^([A-Za-z][A-Za-z0-9-]{0,60}):/.exec(line)?.[1]?.toLowerCase();
    if (name === undefined && !/^[ \t]+\S/.test(line)) break;
    if (name && (WRITTEN_BY_PEOPLE.has(name) || WRITTEN_BY_PROGRAMS.has(name))) known.add(name);
  }
  return known;
}

const WRITTEN_BY_PEOPLE = new Set('from to cc subject date reply-to'.split(' '));
const WRITTEN_BY_PROGRAMS = new Set(
  'received return-path mime-version message-id delivered-to content-type dkim-signature'.split(' '),
);

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
  if (has(/(?:^|\/)(?:vbaProject\w*\.bin|vbaData\.xml)$|^xl\/macrosheets\//i)) {
    return { mediaType: zip, label: 'an Office document with macros', advice: NO_MACROS };
  }
  if (has(/^(?:Basic|Scripts)\/.+\/(?!script-l[bc]\.xml$)[^/]+$/i)) {
    return { mediaType: zip, label: 'an OpenDocument file with macros', advice: NO_MACROS };
  }
  if (has(/^META-INF\/MANIFEST\.MF$/) || has(/\.class$/)) return { mediaType: zip, label: 'a Java archive' };
  if (has(/^EncryptedPackage$|^encrypted-package$/))
    return { mediaType: zip, label: 'an encrypted document', advice: UNLOCK };
  const office = has(/^\[Content_Types\]\.xml$/);
  if (has(/^word\/document\d*\.xml$/) || (office && has(/^word\//))) {
    return { mediaType: type.DOCX, label: 'a Word document' };
  }
  if (has(/^xl\/workbook\.bin$/)) return { mediaType: type.XLSB, label: 'a binary Excel workbook' };
  if (has(/^xl\//)) return { mediaType: type.XLSX, label: 'an Excel workbook' };
  if (has(/^ppt\//)) return { mediaType: type.PPTX, label: 'a PowerPoint presentation' };
  if (has(/^META-INF\/container\.xml$/) && has(/\.opf$/i)) return { mediaType: type.EPUB, label: 'an e-book' };
  if (has(/^content\.xml$/) && has(/^(?:mimetype|META-INF\/manifest\.xml)$/)) {
    return OPEN_DOCUMENT;
  }
  if (has(/^(?:FixedDocSeq\.fdseq|FixedDocumentSequence\.fdseq)$/))
    return { mediaType: zip, label: 'an XPS document', advice: SAVE_AS_PDF };
  if (office && has(/^visio\//)) return { mediaType: zip, label: 'a Visio drawing', advice: SAVE_AS_PDF };
  if (has(/^AndroidManifest\.xml$/)) return { mediaType: zip, label: 'an Android package' };
  if (has(/(?:^|\/)(?:Document|Presentation|Metadata)\.iwa$/))
    return { mediaType: zip, label: 'an iWork document', advice: SAVE_AS_PDF };
  return { mediaType: zip, label: 'a ZIP archive', advice: UNPACK };
}

/** One of a family; which, is said inside. */
const OPEN_DOCUMENT: Finding = { mediaType: 'application/zip', label: 'an OpenDocument file' };

async function openDocumentKind(path: string): Promise<string | undefined> {
  const limits = { maxEntries: 2000, maxUnpackedBytes: 1000 };
  // One that cannot be unpacked says no kind, and is refused for that.
  const parts = await unpackZip(path, (name) => name === 'mimetype', limits).catch(() => undefined);
  const said = Buffer.from(parts?.get('mimetype') ?? []).toString('latin1');
  return /^application\/vnd\.oasis\.opendocument\.([a-z]+)/.exec(said)?.[1];
}

function openDocumentFinding(said: string | undefined, filename: string): Finding {
  const byName: Readonly<Record<string, string>> = { odt: 'text', ods: 'spreadsheet', odp: 'presentation' };
  switch (said ?? byName[extensionOf(filename)]) {
    case 'text':
      return { mediaType: type.ODT, label: 'an OpenDocument text' };
    case 'spreadsheet':
      return { mediaType: type.ODS, label: 'an OpenDocument spreadsheet' };
    case 'presentation':
      return { mediaType: type.ODP, label: 'an OpenDocument presentation' };
    default:
      return { mediaType: 'application/zip', label: 'an OpenDocument drawing, formula or database' };
  }
}

/** The same in one XML document. */
function flatFinding(said: string | undefined): Finding {
  switch (said) {
    case 'text':
      return { mediaType: type.FODT, label: 'a flat OpenDocument text' };
    case 'spreadsheet':
      return { mediaType: type.FODS, label: 'a flat OpenDocument spreadsheet' };
    case 'presentation':
      return { mediaType: type.FODP, label: 'a flat OpenDocument presentation' };
    default:
      return { mediaType: type.XML, label: 'XML data' };
  }
}

/** Old Office documents by the streams that they are made of. */
function cfbFinding(names: readonly string[]): Finding {
  const has = (pattern: RegExp) => names.some((name) => pattern.test(name));
  const mediaType = 'application/x-cfb';
  if (has(/^(?:EncryptedPackage|EncryptionInfo)$/))
    return { mediaType, label: 'an encrypted Office document', advice: UNLOCK };
  if (has(/^(?:_VBA_PROJECT_CUR|_VBA_PROJECT|VBA|Macros)$/)) {
    return { mediaType, label: 'an old Office document with macros', advice: NO_MACROS };
  }
  if (has(/^__properties_version1\.0$/)) return { mediaType: type.MSG, label: 'an Outlook message' };
  if (has(/^WordDocument$/)) return { mediaType: type.DOC, label: 'an old Word document' };
  if (has(/^(?:Workbook|Book)$/)) return { mediaType: type.XLS, label: 'an old Excel workbook' };
  // Who saves for both puts today's form into a storage of its own.
  if (has(/^(?:PP40|PersistentStorage Directory)$/) && !has(/^PP97_DUALSTORAGE$/)) {
    return { mediaType, label: 'a presentation of PowerPoint 95', advice: SAVE_AS_PPTX };
  }
  if (has(/^PowerPoint Document$/)) return { mediaType: type.PPT, label: 'an old PowerPoint presentation' };
  return { mediaType, label: 'an old Office document or installer' };
}

/** A page or a script within the bytes of something else, which a browser might take it for. */
function isMarkup(latin: string): boolean {
  return /<\s*(?:script|html|svg|iframe|body|\?php)[\s>]/i.test(latin.slice(0, 1024));
}

function binaryFinding(mediaType: string, extension: string): Finding {
  const label = binaryLabel(mediaType, extension);
  return mediaType.startsWith('image/') ? { mediaType, label, advice: SAVE_AS_PNG } : { mediaType, label };
}

function binaryLabel(mediaType: string, extension: string): string {
  if (/msdownload|x-elf|mach-binary|java-vm|wasm/.test(mediaType)) return `a program (${extension.toUpperCase()})`;
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
