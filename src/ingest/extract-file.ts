/** A local file of a known type → its text in an output, by the extractor of that type. Runs in the extraction child. */
import { stat } from 'node:fs/promises';
import type { ExtractedDocument, ExtractRequest } from '../contracts/index.ts';
import { ExtractError, toLimitError } from './extract-error.ts';
import * as type from './media-types.ts';
import { type TextOutput, tooLarge } from './text-output.ts';

/** Everything of a document but its text. */
export type Structure = Omit<ExtractedDocument, 'text'>;

export interface ExtractContext {
  /** The most UTF-16 units of text that an extractor may hold at once; one that streams has no need of it. */
  heldChars: number;
  /** Takes a file that is inside of the document, to become a document of its own. */
  addFile(name: string, mediaType: string, bytes: Uint8Array): void;
  /** Says that recognising text in pictures begins, which takes its time. */
  onRecognising(): void;
}

/** Holds the whole text; short of that, what it throws is an `ExtractError`. */
export type HeldExtractor = (request: ExtractRequest, context: ExtractContext) => Promise<ExtractedDocument>;
/** Writes the text as it comes, in memory that does not grow with it. */
export type StreamedExtractor = (request: ExtractRequest, output: TextOutput) => Promise<Structure>;

/** Parsers are loaded when their type first comes up: a child that reads text alone stays small. */
const HELD: Readonly<Record<string, () => Promise<HeldExtractor>>> = {
  [type.HTML]: async () => (await import('./extractors/html.ts')).extractHtml,
  [type.PDF]: async () => (await import('./extractors/pdf.ts')).extractPdf,
  [type.DOCX]: async () => (await import('./extractors/docx.ts')).extractDocx,
  [type.PPTX]: async () => (await import('./extractors/office.ts')).extractPptx,
  [type.ODT]: async () => (await import('./extractors/office.ts')).extractOdt,
  [type.ODP]: async () => (await import('./extractors/office.ts')).extractOdp,
  [type.FODT]: async () => (await import('./extractors/office.ts')).extractOdt,
  [type.FODP]: async () => (await import('./extractors/office.ts')).extractOdp,
  [type.FODS]: async () => (await import('./extractors/workbook.ts')).extractOds,
  [type.RTF]: async () => (await import('./extractors/rtf.ts')).extractRtf,
  [type.XLSX]: async () => (await import('./extractors/workbook.ts')).extractXlsx,
  [type.ODS]: async () => (await import('./extractors/workbook.ts')).extractOds,
  [type.XLS]: async () => (await import('./extractors/workbook.ts')).extractXls,
  [type.XLSB]: async () => (await import('./extractors/workbook.ts')).extractXlsb,
  [type.DOC]: async () => (await import('./extractors/doc.ts')).extractDoc,
  [type.PPT]: async () => (await import('./extractors/ppt.ts')).extractPpt,
  [type.EPUB]: async () => (await import('./extractors/epub.ts')).extractEpub,
  [type.EML]: async () => (await import('./extractors/mail.ts')).extractEml,
  [type.MSG]: async () => (await import('./extractors/msg.ts')).extractMsg,
  [type.TNEF]: async () => (await import('./extractors/tnef.ts')).extractTnef,
  [type.NOTEBOOK]: async () => (await import('./extractors/notebook.ts')).extractNotebook,
  [type.SRT]: async () => (await import('./extractors/subtitles.ts')).extractSubtitles,
  [type.VTT]: async () => (await import('./extractors/subtitles.ts')).extractSubtitles,
  [type.TIFF]: async () => (await import('./extractors/picture.ts')).extractTiff,
  [type.BMP]: async () => (await import('./extractors/picture.ts')).extractBmp,
  [type.GIF]: async () => (await import('./extractors/picture.ts')).extractGif,
  ...Object.fromEntries(
    type.PICTURES.map((picture) => [picture, async () => (await import('./extractors/picture.ts')).extractPicture]),
  ),
};

const STREAMED: Readonly<Record<string, () => Promise<StreamedExtractor>>> = {
  [type.PLAIN]: async () => (await import('./extractors/text.ts')).extractText,
  [type.MARKDOWN]: async () => (await import('./extractors/text.ts')).extractMarkdown,
  [type.CSV]: async () => (await import('./extractors/csv.ts')).extractCsv,
  [type.TSV]: async () => (await import('./extractors/csv.ts')).extractCsv,
  [type.JSON_TYPE]: async () => (await import('./extractors/json.ts')).extractJson,
  [type.JSON_LINES]: async () => (await import('./extractors/json.ts')).extractJsonLines,
  [type.XML]: async () => (await import('./extractors/xml.ts')).extractXml,
};

/** Types that are held whole and whose text is about as long as the file: too long a file need not be read to know. */
const TEXTUAL: ReadonlySet<string> = new Set([type.HTML, type.NOTEBOOK, type.SRT, type.VTT]);
/** No encoding here takes more bytes for one UTF-16 unit. */
const MAX_BYTES_A_CHAR = 4;

/** The length of the text, in UTF-16 units, and what is known of it. Rejects with `ExtractError` for what it finds. */
export async function extractFile(
  request: ExtractRequest,
  output: TextOutput,
  context: ExtractContext,
): Promise<Structure & { chars: number }> {
  const { size } = await stat(request.path);
  const { mediaType } = request;
  if (TEXTUAL.has(mediaType) && size > context.heldChars * MAX_BYTES_A_CHAR) throw tooLarge(context.heldChars);
  try {
    const structure = await byType(request, output, context);
    return { ...structure, chars: output.end() };
  } catch (error) {
    throw toLimitError(error);
  }
}

async function byType(request: ExtractRequest, output: TextOutput, context: ExtractContext): Promise<Structure> {
  const streamed = await STREAMED[request.mediaType]?.();
  if (streamed) return streamed(request, output);
  const held = await HELD[request.mediaType]?.();
  if (!held) {
    throw new ExtractError('unsupported_media_type', `Documents of type ${request.mediaType} cannot be read.`);
  }
  const { text, ...structure } = await held(request, context);
  if (text.length > context.heldChars) throw tooLarge(context.heldChars);
  output.writeClean(text);
  return structure;
}
