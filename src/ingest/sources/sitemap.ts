/** Sitemaps (https://www.sitemaps.org/protocol.html): pages, or further sitemaps; XML, gzip-compressed or not. */
import { gunzipSync } from 'node:zlib';
import { SaxesParser } from 'saxes';
import { SourceError } from './source-error.ts';

const MOST_URLS = 50_000;
const MAX_BYTES = 50 * 1024 * 1024;

export interface Sitemap {
  pages: string[];
  sitemaps: string[];
  /** It could not be read to its end: there may be more than it names. */
  broken: boolean;
}

function textOf(bytes: Buffer): string {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.toString('utf8');
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_BYTES }).toString('utf8');
  } catch (cause) {
    throw new SourceError('The sitemap cannot be decompressed.', { cause });
  }
}

/** What could be read of it; a sitemap that ends in the middle names what it named until then. */
export function readSitemap(bytes: Buffer): Sitemap {
  const sitemap: Sitemap = { pages: [], sitemaps: [], broken: false };
  const path: string[] = [];
  let text = '';
  // No DTD is read and no entity but XML's own five is known to this parser.
  const parser = new SaxesParser();
  parser.on('opentag', ({ name }) => {
    path.push(name.replace(/^.*:/, ''));
    text = '';
  });
  parser.on('text', (part) => {
    text += part;
  });
  parser.on('cdata', (part) => {
    text += part;
  });
  parser.on('closetag', () => {
    const [name, parent] = [path.pop(), path.at(-1)];
    if (name !== 'loc') return;
    const list = parent === 'sitemap' ? sitemap.sitemaps : parent === 'url' ? sitemap.pages : undefined;
    if (list && list.length < MOST_URLS) list.push(text.trim());
  });
  parser.on('error', () => {
    sitemap.broken = true;
  });
  parser.write(textOf(bytes)).close();
  return sitemap;
}
