/**
 * A flat OpenDocument file (FODT, FODS, FODP): one XML document that holds what otherwise are the parts of a ZIP, pictures
 * among them. It is taken apart into those parts, so that it is read as the others are. OpenDocument 1.3, part 3, 3.1.1.
 */
import { charsetByBom, decode } from './charset.ts';
import { ExtractError } from './extract-error.ts';

/** As much as the parts of a packed one may unpack to; pictures are text here, and count. */
const MAX_BYTES = 64 * 1024 * 1024;

/** The parts as their files are called; `undefined` for what is no flat OpenDocument. Throws `limits_exceeded`. */
export function partsOfFlat(file: Uint8Array): Map<string, Uint8Array> | undefined {
  if (file.length > MAX_BYTES) {
    throw new ExtractError('limits_exceeded', 'The document is larger than an OpenDocument file may be.');
  }
  const source = decode(file, charsetByBom(file) ?? 'utf-8');
  const root = /<office:document(?=\s)[^<>]*>/.exec(source.slice(0, MAX_PROLOG));
  const kind = root && mimeTypeOf(root[0]);
  if (!root || !kind) return undefined;
  // What is shown from elsewhere lies in other parts of a packed one, which are not read either.
  const xml = ['office:binary-data', 'draw:object'].reduce(without, source.slice(root.index + root[0].length));
  const [, namespaces = ''] = /^<office:document\s([^<>]*)>$/.exec(root[0]) ?? [];
  const part = (name: string, ...sections: string[]) => {
    const elements = sections.map((section) => elementOf(xml, `office:${section}`));
    return Buffer.from(
      `<?xml version="1.0" encoding="UTF-8"?><office:${name} ${namespaces}>${elements.join('')}</office:${name}>`,
    );
  };
  return new Map<string, Uint8Array>([
    ['mimetype', Buffer.from(kind)],
    ['content.xml', part('document-content', 'scripts', 'font-face-decls', 'automatic-styles', 'body')],
    ['styles.xml', part('document-styles', 'font-face-decls', 'styles', 'automatic-styles', 'master-styles')],
    ['meta.xml', part('document-meta', 'meta')],
    ['META-INF/manifest.xml', Buffer.from('<manifest/>')],
  ]);
}

const MAX_PROLOG = 64 * 1024;

/** What the first element of a text says that it is, where that is a flat OpenDocument: `text`, `spreadsheet` … */
export function flatKind(content: string): string | undefined {
  const root = /<office:document(?=\s)[^<>]*>/.exec(content)?.[0];
  return root && mimeTypeOf(root)?.slice(OPEN_DOCUMENT.length);
}

const OPEN_DOCUMENT = 'application/vnd.oasis.opendocument.';
const mimeTypeOf = (root: string) =>
  /\soffice:mimetype\s*=\s*["'](application\/vnd\.oasis\.opendocument\.[a-z]{1,30})/.exec(root)?.[1];

/** An element that stands once, with what is in it; nothing where it is missing. */
function elementOf(xml: string, name: string): string {
  const start = startOf(xml, name, 0);
  const end = xml.lastIndexOf(`</${name}>`);
  return start < 0 || end < start ? '' : xml.slice(start, end + name.length + 3);
}

/** Leaves elements of a name out. Step by step: a pattern would look for missing ends for ever. */
function without(xml: string, name: string): string {
  const pieces: string[] = [];
  const close = `</${name}>`;
  let at = 0;
  for (let start = startOf(xml, name, 0); start >= 0; start = startOf(xml, name, at)) {
    const open = xml.indexOf('>', start);
    const isEmpty = open > 0 && xml[open - 1] === '/';
    const end = isEmpty ? open + 1 : xml.indexOf(close, start) + close.length;
    if (open < 0 || end < close.length) break;
    pieces.push(xml.slice(at, start));
    at = end;
  }
  pieces.push(xml.slice(at));
  return pieces.join('');
}

function startOf(xml: string, name: string, from: number): number {
  for (let at = xml.indexOf(`<${name}`, from); at >= 0; at = xml.indexOf(`<${name}`, at + 1)) {
    if (/[\s/>]/.test(xml[at + name.length + 1] ?? '')) return at;
  }
  return -1;
}
