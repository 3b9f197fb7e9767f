/** E-books: the chapters in the order in which they are read (the spine of the package), each through its HTML. */
import { posix } from 'node:path';
import { DOMParser } from 'linkedom';
import { cleanText } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { markdownOfHtml } from '../html-tree.ts';
import { markdownHeadings } from '../markdown-headings.ts';
import { assertNoEntities } from '../office-parts.ts';
import { unpackZip } from '../zip-limits.ts';

const MAX_CHAPTERS = 5000;

export const extractEpub: HeldExtractor = async ({ path }, { heldChars }) => {
  const parts = await unpackZip(path, (name) => /^META-INF\/|\.(?:opf|x?html?|xml)$/i.test(name));
  assertReadable(parts.get('META-INF/encryption.xml'));
  const rootfile = attributeOf(textOf(parts.get('META-INF/container.xml')), 'rootfile', 'full-path');
  const source = rootfile && parts.get(rootfile);
  if (!source) throw new ExtractError('corrupt', 'The e-book is damaged: it does not say what it consists of.');
  assertNoEntities(source);
  const document = new DOMParser().parseFromString(textOf(source), 'text/xml');
  const items = new Map(
    [...document.querySelectorAll('manifest > item')].map((item) => [item.getAttribute('id'), item]),
  );
  const chapters: string[] = [];
  let chars = 0;
  for (const reference of [...document.querySelectorAll('spine > itemref')].slice(0, MAX_CHAPTERS)) {
    const item = items.get(reference.getAttribute('idref'));
    // The table of contents says again what the chapters' headings say.
    if (!item || /\bnav\b/.test(item.getAttribute('properties') ?? '')) continue;
    const part = parts.get(nameOf(rootfile, item.getAttribute('href') ?? ''));
    if (!part) continue;
    const chapter = chapterOf(textOf(part));
    chars += chapter.length;
    if (chars > heldChars) throw new ExtractError('too_large', 'The e-book has more text than one document may have.');
    if (chapter !== '') chapters.push(chapter);
  }
  const text = chapters.join('\n\n');
  const named = [...document.querySelectorAll('metadata > *')].find(({ localName }) => /(?:^|:)title$/.test(localName));
  const title =
    cleanText(named?.textContent ?? '')
      .replace(/\s+/g, ' ')
      .trim() || null;
  return { text, title, pages: [], headings: markdownHeadings(text) };
};

/** Fonts may be garbled, which is called encryption too; a chapter that is means a copy protection. */
function assertReadable(encryption: Uint8Array | undefined): void {
  if (/<(?:\w+:)?CipherReference[^>]+\.(?:x?html?|xml|opf)["']/i.test(textOf(encryption))) {
    throw new ExtractError('encrypted', 'The e-book is copy-protected and cannot be read.');
  }
}

const textOf = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes ?? new Uint8Array());

function attributeOf(xml: string, element: string, attribute: string): string | undefined {
  return new RegExp(`<(?:\\w+:)?${element}\\s[^>]{0,500}?\\b${attribute}\\s*=\\s*["']([^"']{1,500})["']`).exec(
    xml,
  )?.[1];
}

function nameOf(rootfile: string, href: string): string {
  const bare = href.split('#')[0] ?? '';
  const joined = posix.join(posix.dirname(rootfile), safeDecode(bare));
  return joined;
}

function safeDecode(href: string): string {
  try {
    return decodeURIComponent(href);
  } catch {
    return href;
  }
}

function chapterOf(xhtml: string): string {
  // XHTML may close what HTML may not, `<script/>` and `<title/>`, which would swallow the rest.
  const source = xhtml.replace(/<(script|title|style|iframe|textarea|a|div|span|p)(\s[^<>]*)?\/>/gi, '<$1$2></$1>');
  return markdownOfHtml(source);
}
