/** A local file of a known type → its text, by the extractor of that type. Runs in the extraction child. */
import { stat } from 'node:fs/promises';
import type { ExtractedDocument, ExtractRequest } from '../contracts/index.ts';
import { hasContent } from './clean-text.ts';
import { ExtractError, toLimitError } from './extract-error.ts';
import { DOCX } from './sniff.ts';

export interface ExtractLimits {
  /** The most UTF-16 units of text that one document may have. */
  outputChars: number;
}

/** Types whose text is about as long as the file: too long a file need not be read to know. */
const TEXTUAL = new Set(['text/plain', 'text/markdown', 'text/html']);
/** No encoding here takes more bytes for one UTF-16 unit. */
const MAX_BYTES_A_CHAR = 4;

export async function extractFile(request: ExtractRequest, { outputChars }: ExtractLimits): Promise<ExtractedDocument> {
  const { size } = await stat(request.path);
  if (TEXTUAL.has(request.mediaType) && size > outputChars * MAX_BYTES_A_CHAR) throw tooLarge(outputChars);
  const document = await byType(request, outputChars).catch((error) => Promise.reject(toLimitError(error)));
  if (document.text.length > outputChars) throw tooLarge(outputChars);
  if (!hasContent(document.text)) throw new ExtractError('empty', 'The document has no text in it.');
  return document;
}

/** Parsers are loaded when their type first comes up: a child that reads text alone stays small. */
async function byType({ path, mediaType }: ExtractRequest, outputChars: number): Promise<ExtractedDocument> {
  switch (mediaType) {
    case 'text/plain':
      return (await import('./extractors/text.ts')).extractText(await Bun.file(path).bytes());
    case 'text/markdown':
      return (await import('./extractors/text.ts')).extractMarkdown(await Bun.file(path).bytes());
    case 'text/html':
      return (await import('./extractors/html.ts')).extractHtml(await Bun.file(path).bytes());
    case 'application/pdf':
      return (await import('./extractors/pdf.ts')).extractPdf(await Bun.file(path).bytes(), { outputChars });
    case DOCX:
      return (await import('./extractors/docx.ts')).extractDocx(path);
    default:
      throw new ExtractError('unsupported_media_type', `Documents of type ${mediaType} cannot be read.`);
  }
}

function tooLarge(outputChars: number): ExtractError {
  return new ExtractError('too_large', `The document has more than the ${outputChars} characters of text allowed.`);
}
