/** The XML parts of an Office Open XML document, checked for what such documents may not have. */
import { ExtractError } from './extract-error.ts';
import { unpackZip } from './zip-limits.ts';

/** Rejects with `corrupt`, `encrypted`, `limits_exceeded`, or `unsupported_media_type` for macros. */
export async function unpackOffice(path: string): Promise<Map<string, Uint8Array>> {
  return checked(await unpackZip(path, isXml), /<Override\s[^>]{0,500}(?:macroEnabled\.|vbaProject)/i);
}

/** The same of a binary workbook (XLSB): its sheets are records, and each says that it could have macros. */
export async function unpackBinaryWorkbook(path: string): Promise<Map<string, Uint8Array>> {
  const wanted = (name: string) => isXml(name) || /^xl\/(?!printerSettings\/).+\.bin$/i.test(name);
  return checked(await unpackZip(path, wanted), /<Override\s[^>]{0,500}(?:vbaProject|macrosheet)/i);
}

const isXml = (name: string) => /\.(?:xml|rels|vml)$/i.test(name);

function checked(parts: Map<string, Uint8Array>, macros: RegExp): Map<string, Uint8Array> {
  for (const [name, bytes] of parts) if (isXml(name)) assertNoEntities(bytes);
  const types = Buffer.from(parts.get('[Content_Types].xml') ?? []).toString('latin1');
  // Whatever the parts are called: this is what programs go by.
  if (macros.test(types)) {
    throw new ExtractError(
      'unsupported_media_type',
      'The document has macros in it, and is not taken for that reason.',
    );
  }
  return parts;
}

/** Office Open XML forbids them (ECMA-376 part 2, 10.1.3.2), nobody else needs them, and they are how XML explodes. */
export function assertNoEntities(bytes: Uint8Array): void {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // UTF-16 hides the words from a look at bytes.
  const wide =
    (text[0] === 0xff && text[1] === 0xfe) || (text[0] === 0xfe && text[1] === 0xff) || text[0] === 0 || text[1] === 0;
  const source = wide ? text.toString('latin1').replaceAll('\0', '') : text;
  if (source.includes('<!ENTITY')) {
    throw new ExtractError('corrupt', 'The document defines entities of its own, which are not read here.');
  }
}
