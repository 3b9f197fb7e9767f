/** What a page says about itself and others. */
import { decodeEntities } from '../html-entities.ts';

export interface PageLinks {
  title: string | null;
  /** Absolute, without fragment, http and https alone, each once. */
  links: string[];
  /** `nofollow`, `noindex`: what the page asks of robots. */
  follow: boolean;
  index: boolean;
  /** The address under which the page wants to be known, if it is another one. */
  canonical: string | null;
}

/** `raw` as it stands in the page: attributes come with their references. */
function absolute(raw: string, base: URL): URL | null {
  const href = decodeEntities(raw);
  if (!URL.canParse(href, base)) return null;
  const url = new URL(href, base);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
  url.hash = '';
  return url;
}

/** Reads a page's HTML, whatever its shape. */
export function readPage(html: string, url: URL): PageLinks {
  const page: PageLinks = { title: null, links: [], follow: true, index: true, canonical: null };
  const links = new Set<string>();
  let base = url;
  let title = '';
  let titles = 0;
  let drawings = 0;
  const rewriter = new HTMLRewriter()
    .on('base[href]', {
      element: (element) => {
        base = absolute(element.getAttribute('href') ?? '', url) ?? base;
      },
    })
    .on('svg', {
      element: (element) => {
        drawings += 1;
        element.onEndTag(() => {
          drawings -= 1;
        });
      },
    })
    // Pages may leave out their head's own tags; drawings have titles of their own.
    .on('title', {
      element: () => {
        if (drawings === 0) titles += 1;
      },
      text: ({ text }) => {
        if (titles === 1 && drawings === 0) title += text;
      },
    })
    .on('meta[name]', {
      element: (element) => {
        if (!/^(robots|dreamhub)$/i.test(element.getAttribute('name') ?? '')) return;
        const content = element.getAttribute('content')?.toLowerCase() ?? '';
        if (/\b(noindex|none)\b/.test(content)) page.index = false;
        if (/\b(nofollow|none)\b/.test(content)) page.follow = false;
      },
    })
    .on('meta[http-equiv="refresh" i][content]', {
      element: (element) => {
        const target = /^\s*[\d.]+\s*[;,]\s*url\s*=\s*["']?([^"']+)/i.exec(element.getAttribute('content') ?? '')?.[1];
        const link = target ? absolute(target, base) : null;
        if (link) links.add(link.href);
      },
    })
    .on('link[rel="canonical"][href]', {
      element: (element) => {
        page.canonical = absolute(element.getAttribute('href') ?? '', base)?.href ?? null;
      },
    })
    .on('a[href]', {
      element: (element) => {
        if (/\bnofollow\b/i.test(element.getAttribute('rel') ?? '')) return;
        const link = absolute(element.getAttribute('href') ?? '', base);
        if (link) links.add(link.href);
      },
    });
  rewriter.transform(html);
  page.links = page.follow ? [...links] : [];
  page.title = decodeEntities(title).replace(/\s+/g, ' ').trim().slice(0, 500).toWellFormed() || null;
  return page;
}
