/** Bytes of a web page as text. */
import { charsetByBom, decode, detectCharset, isUtf8, knownCharset } from './charset.ts';
import { ExtractError } from './extract-error.ts';

/**
 * A mark wins, then what its server said, then what the page declares, unless the bytes contradict it. Throws `corrupt` where
 * no encoding makes sense of them.
 */
export function decodeHtml(bytes: Uint8Array, said?: string): string {
  const server = said ? knownCharset(said) : undefined;
  const declared = [server, declaredCharset(bytes)].find(
    (charset) => charset !== undefined && !(charset === 'utf-8' && !isUtf8(bytes, true)),
  );
  const charset = charsetByBom(bytes) ?? declared ?? detectCharset(bytes, true);
  if (!charset) throw new ExtractError('corrupt', 'The page is in no character encoding that is known here.');
  return decode(bytes, charset);
}

/** `<meta charset>` or `<meta http-equiv … content="…; charset=">` in the first 4 KiB, or an XML declaration. */
function declaredCharset(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 4096)).toString('latin1');
  const label =
    /<meta[^>]{0,300}?charset\s*=\s*["']?\s*([\w:.-]+)/i.exec(head)?.[1] ??
    /^\s*<\?xml[^>]{0,200}encoding\s*=\s*["']([\w:.-]+)/i.exec(head)?.[1];
  const known = label ? knownCharset(label) : undefined;
  // A declaration that could be read as ASCII is not in UTF-16, whatever it says.
  return known?.startsWith('utf-16') ? 'utf-8' : known;
}
