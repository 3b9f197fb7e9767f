/** What a page says about itself and others. */
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

function absolute(href: string, base: URL): URL | null {
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
  const rewriter = new HTMLRewriter()
    .on('base[href]', {
      element: (element) => {
        base = absolute(element.getAttribute('href') ?? '', url) ?? base;
      },
    })
    .on('head > title', {
      text: ({ text }) => {
        title += text;
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
  page.title = title.replace(/\s+/g, ' ').trim().slice(0, 500) || null;
  return page;
}
