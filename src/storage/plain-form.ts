/**
 * A form that is there as a whole and written the way browsers, curl and every HTTP library write it, read without the
 * machinery of streams. Whatever is unusual in the least (an escaped name, a file without one, another header, a preamble, a
 * field too many) is nobody's business here: the answer is `undefined`, and the parser that knows all of it decides.
 */
import { FILE_FIELD, FORM_LIMITS } from './form-limits.ts';

export interface PlainForm {
  fields: Record<string, string>;
  file: Uint8Array;
  filename: string;
}

const CONTENT_TYPE = /^multipart\/form-data; ?boundary=("?)([\w'()+,./:=?-]{1,70})\1$/i;
/** Printable ASCII without quotes, escapes, percent signs and separators of paths. */
const DISPOSITION =
  /^content-disposition: form-data; name="([ !#$&-.0-[\]-~]{1,100})"(?:; filename="([ !#$&-.0-[\]-~]{1,200})")?$/i;
const TYPE = /^content-type: ([\w.+-]+\/[\w.+-]+(?:; ?charset=[\w-]+)?)$/i;
const MAX_HEADERS = 1_024;
const CRLF = '\r\n';

interface Part {
  name: string;
  filename: string | undefined;
  content: Buffer;
}

/** `undefined` where the form is not plain, or not within limits. */
export function readPlainForm(bytes: Uint8Array, contentType: string, maxBytes: number): PlainForm | undefined {
  const boundary = CONTENT_TYPE.exec(contentType)?.[2];
  if (boundary === undefined) return undefined;
  const parts = partsOf(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), boundary);
  const fields = new Map<string, string>();
  let file: Part | undefined;
  for (const part of parts ?? []) {
    if (part.name === FILE_FIELD) {
      if (file || part.filename === undefined || part.content.length > maxBytes) return undefined;
      file = part;
      continue;
    }
    if (part.filename !== undefined || part.content.length > FORM_LIMITS.fieldBytes) return undefined;
    fields.set(part.name, part.content.toString('utf8'));
  }
  if (file?.filename === undefined) return undefined;
  return { fields: Object.fromEntries(fields), file: file.content, filename: file.filename };
}

function partsOf(body: Buffer, boundary: string): Part[] | undefined {
  const delimiter = `${CRLF}--${boundary}`;
  const parts: Part[] = [];
  let at = boundary.length + 2;
  if (body.toString('latin1', 0, at) !== `--${boundary}`) return undefined;
  for (;;) {
    const next = body.toString('latin1', at, at + 2);
    if (next === '--') return isEnd(body, at + 2) ? parts : undefined;
    if (next !== CRLF || parts.length > FORM_LIMITS.fields) return undefined;
    const from = at + 2;
    const start = body.indexOf(`${CRLF}${CRLF}`, from, 'latin1') + 4;
    if (start < 4 || start - from > MAX_HEADERS) return undefined;
    const end = body.indexOf(delimiter, start, 'latin1');
    const part = end < 0 ? undefined : headed(body.toString('latin1', from, start - 4));
    // A boundary right after the headers: whose line end that is, the other parser decides.
    if (!part || body.toString('latin1', start, start + delimiter.length - 2) === delimiter.slice(2)) return undefined;
    parts.push({ ...part, content: body.subarray(start, end) });
    at = end + delimiter.length;
  }
}

/** Nothing, or one line end, as all write it. */
const isEnd = (body: Buffer, at: number): boolean =>
  body.length === at || (body.length === at + 2 && body.toString('latin1', at) === CRLF);

function headed(text: string): Omit<Part, 'content'> | undefined {
  const [first = '', second, ...more] = text.split(CRLF);
  const disposition = DISPOSITION.exec(first);
  const [, name, filename] = disposition ?? [];
  if (name === undefined || more.length > 0) return undefined;
  if (second !== undefined && (filename === undefined || !TYPE.test(second))) return undefined;
  return { name, filename };
}
