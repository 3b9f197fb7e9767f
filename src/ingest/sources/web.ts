/**
 * Pages of one site: from a first address and its sitemap along the links, breadth first, as robots.txt allows. One request
 * at a time, and no sooner than the site asks for. What has not changed is asked for conditionally and costs no more than
 * that; its links are remembered, so that what lies behind it is found all the same.
 *
 * A page: listed → a document, gone, or put aside, because it wants to be known by another address. Once nothing else is
 * left to be listed, one whose other address led to no document (or back to itself) is listed again and taken as it is.
 */
import { type Static, Type } from '@sinclair/typebox';
import robotsParser from 'robots-parser';
import type { SourceContent, SourceItem, SourceProvider, SourceRun, SourceSession } from '../../contracts/index.ts';
import type { Clock } from '../../kernel/clock.ts';
import { ExtractError } from '../extract-error.ts';
import { decodeHtml } from '../html-charset.ts';
import {
  bytesOf,
  conditionOf,
  type HttpAnswer,
  refusal,
  retryAfterOf,
  type SourceHttp,
  USER_AGENT,
  validatorOf,
} from './http.ts';
import { HttpUrl, SmallInteger } from './settings.ts';
import { readSitemap } from './sitemap.ts';
import { SourceError, SourceUnavailable } from './source-error.ts';
import { readPage } from './web-links.ts';

const Settings = Type.Object({
  url: HttpUrl('Where it begins; only this site is read'),
  depth: SmallInteger(0, 20, 3, 'Links from the first page'),
  max_pages: SmallInteger(1, 10_000, 500, 'Pages at most'),
  path_prefix: Type.Optional(Type.String({ maxLength: 500, description: 'Only paths that begin like this' })),
  sitemap: Type.Optional(Type.Boolean({ default: true, description: 'Begin with what the sitemap names, too' })),
});

const DEFAULTS = { depth: 3, max_pages: 500, path_prefix: '/', sitemap: true };
const MAX_PAGE_BYTES = 5 * 1024 * 1024;
const MAX_ROBOTS_BYTES = 512 * 1024;
const MAX_SITEMAP_BYTES = 10 * 1024 * 1024;
const MOST_SITEMAPS = 20;
const MAX_KEY_BYTES = 2_000;
const MAX_DELAY_SECONDS = 10;
/** Of addresses that are waiting or were seen. */
const MAX_FRONTIER_BYTES = 32 * 1024 * 1024;
/** A site that has no time now is waited for so often for one page, each time and in all so long… */
const MOST_PAUSES = 3;
const MAX_PAUSE_MS = 60_000;
const MAX_PAUSES_MS = 300_000;
/** …and so many pages in a row may find it so; then it is left alone until the next sync. */
const MOST_REFUSED = 5;
const HTML = /^(text\/html|application\/xhtml\+xml)\b/i;
/** Beside pages: what becomes a document. */
const FILES =
  /^(application\/(pdf|msword|rtf|epub\+zip|vnd\.(openxmlformats|oasis|ms-)[\w.+-]*)|text\/(plain|markdown|csv))\b/i;

interface Frontier {
  add(url: string, depth: number): void;
  next(): { url: string; depth: number } | undefined;
}

/** Each address once, in the order in which they were found. */
function createFrontier(isWanted: (url: URL) => boolean, most: number): Frontier {
  const seen = new Set<string>();
  const waiting: { url: string; depth: number }[] = [];
  let bytes = 0;
  return {
    add(href, depth) {
      if (seen.size >= most * 10 || bytes >= MAX_FRONTIER_BYTES || !URL.canParse(href)) return;
      const url = new URL(href);
      url.hash = '';
      if (seen.has(url.href) || Buffer.byteLength(url.href) > MAX_KEY_BYTES || !isWanted(url)) return;
      seen.add(url.href);
      bytes += url.href.length;
      waiting.push({ url: url.href, depth });
    },
    next: () => waiting.shift(),
  };
}

/** `undefined` where no encoding makes sense of it. */
function decoded(bytes: Uint8Array, type = ''): string | undefined {
  try {
    return decodeHtml(bytes, /;\s*charset\s*=\s*"?([\w:.-]+)/i.exec(type)?.[1]);
  } catch (error) {
    if (error instanceof ExtractError) return undefined;
    throw error;
  }
}

function filenameOf(url: URL, isPage: boolean): string {
  const name = decodeURIComponentSafely(url.pathname.split('/').findLast((part) => part !== '') ?? url.hostname);
  return isPage && !/\.x?html?$/i.test(name) ? `${name}.html` : name;
}

function decodeURIComponentSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Sites move from `http` to `https` and to `www.` by redirects, and stay what they are. */
function isSameSite(home: URL, url: URL): boolean {
  if (url.origin === home.origin) return true;
  const bare = ({ hostname }: URL) => hostname.replace(/^www\./, '');
  return home.port === '' && url.port === '' && bare(home) === bare(url);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Addresses that pages want to be known by, and whether they led to a document. */
function createAddresses() {
  /** Where what stands at an address is settled: a document, one that failed, or none on purpose. */
  const settled = new Set<string>();
  const leadsTo = new Map<string, string>();
  const aside: { url: string; depth: number }[] = [];
  const insisted = new Set<string>();

  function isSettled(url: string): boolean {
    const passed = new Set<string>();
    for (let at: string | undefined = url; at !== undefined && !passed.has(at); at = leadsTo.get(at)) {
      if (settled.has(at)) return true;
      passed.add(at);
    }
    return false;
  }

  return {
    settle: (url: string) => void settled.add(url),
    redirect: (from: string, to: string) => void leadsTo.set(from, to),
    /** False where the page is taken under its own address all the same. */
    putAside(page: { url: string; depth: number }, canonical: string): boolean {
      if (insisted.has(page.url)) return false;
      leadsTo.set(page.url, canonical);
      aside.push(page);
      return true;
    },
    /** A page that would be nowhere. */
    next(): { url: string; depth: number } | undefined {
      for (let page = aside.shift(); page; page = aside.shift()) {
        if (isSettled(page.url)) continue;
        insisted.add(page.url);
        return page;
      }
      return undefined;
    },
  };
}

export function createWebProvider({ http, clock }: { http: SourceHttp; clock: Clock }): SourceProvider {
  async function open(run: SourceRun): Promise<SourceSession> {
    const settings = { ...DEFAULTS, ...(run.settings as Static<typeof Settings>) };
    const { signal } = run;
    const home = new URL(settings.url);
    const robots = await readRobots(home, signal);
    const isWanted = (url: URL) =>
      isSameSite(home, url) &&
      url.pathname.startsWith(settings.path_prefix) &&
      // Its rules are those of the address that they were read at.
      robots.isAllowed(new URL(url.pathname + url.search, home).href, USER_AGENT) !== false;
    const delayMs = Math.min(robots.getCrawlDelay(USER_AGENT) ?? 0, MAX_DELAY_SECONDS) * 1_000;
    const frontier = createFrontier(isWanted, settings.max_pages);
    const addresses = createAddresses();
    let current = { url: home.href, depth: 0 };
    let fetched = 0;
    let pausesLeftMs = MAX_PAUSES_MS;
    let refused = 0;

    const follow = (links: readonly string[]) => {
      if (current.depth >= settings.depth) return;
      for (const link of links) frontier.add(link, current.depth + 1);
    };

    /** What lay behind a page when it was read last. */
    const followKnown = (key: string) => {
      const state = run.known(key)?.state;
      const links = typeof state === 'object' && state !== null && 'links' in state ? state['links'] : [];
      if (Array.isArray(links)) follow(links.filter((link) => typeof link === 'string'));
    };

    async function* list(): AsyncGenerator<SourceItem> {
      frontier.add(home.href, 0);
      if (!isWanted(home)) throw new SourceError(`The site's robots.txt does not allow ${home.pathname} to be read.`);
      let isWhole = true;
      if (settings.sitemap) {
        const found = await sitemapUrls(home, robots.getSitemaps(), signal);
        for (const url of found.urls) frontier.add(url, 1);
        isWhole = found.isWhole;
      }
      for (let listed = 0; listed < settings.max_pages; listed++) {
        let next = frontier.next();
        if (!next && !isWhole) {
          // What a sitemap that cannot be read may have named is not gone for that: each page is asked itself.
          isWhole = true;
          for (const key of run.keys()) frontier.add(key, settings.depth);
          next = frontier.next();
        }
        next ??= addresses.next();
        if (!next) return;
        current = next;
        yield { key: next.url, fingerprint: null };
      }
    }

    /** Waits where the site asks for it, so long as it does not take too long. */
    async function getPatiently(request: Parameters<SourceHttp['get']>[0]): Promise<HttpAnswer> {
      for (let pauses = 0; ; pauses++) {
        const answer = await http.get(request);
        const pauseMs = retryAfterOf(answer, clock.now());
        if (pauseMs === undefined || pauses >= MOST_PAUSES || pauseMs > Math.min(MAX_PAUSE_MS, pausesLeftMs)) {
          return answer;
        }
        answer.discard();
        pausesLeftMs -= pauseMs;
        await clock.sleep(pauseMs, signal);
      }
    }

    async function fetch({ key }: SourceItem): Promise<SourceContent | 'unchanged' | 'gone'> {
      if (fetched++ > 0 && delayMs > 0) await clock.sleep(delayMs, signal);
      const known = run.known(key);
      const answer = await getPatiently({
        url: key,
        headers: {
          accept: 'text/html, application/xhtml+xml, application/pdf, */*;q=0.5',
          ...conditionOf(known?.fingerprint),
        },
        signal,
        onRedirect(url) {
          if (!isWanted(url)) throw new Elsewhere(url);
        },
      });
      refused = answer.status === 429 || answer.status === 503 ? refused + 1 : 0;
      return answered(key, answer);
    }

    async function answered(key: string, answer: HttpAnswer): Promise<SourceContent | 'unchanged' | 'gone'> {
      const { status } = answer;
      if (status === 304) {
        answer.discard();
        addresses.settle(key);
        followKnown(key);
        return 'unchanged';
      }
      if (status < 200 || status > 299) {
        answer.discard();
        if ((status === 404 || status === 410) && key !== home.href) return 'gone';
        throw refusal(answer);
      }
      // Read where it is: the address that it leads to is an item of its own.
      if (answer.url.href !== key) {
        answer.discard();
        addresses.redirect(key, answer.url.href);
        frontier.add(answer.url.href, current.depth);
        return 'gone';
      }
      const type = answer.header('content-type') ?? '';
      const fingerprint = validatorOf(answer);
      if (!HTML.test(type)) {
        if (!FILES.test(type)) {
          answer.discard();
          return 'gone';
        }
        addresses.settle(key);
        return {
          body: answer.body(run.maxBytes),
          filename: filenameOf(answer.url, false),
          metadata: { url: key },
          fingerprint,
        };
      }
      const bytes = await bytesOf(answer, Math.min(MAX_PAGE_BYTES, run.maxBytes));
      const text = decoded(bytes, type);
      const page = readPage(text ?? bytes.toString('utf8'), answer.url);
      follow(page.links);
      const { canonical } = page;
      if (canonical !== null && canonical !== key && isWanted(new URL(canonical))) {
        frontier.add(canonical, current.depth);
        if (addresses.putAside(current, canonical)) return 'gone';
      }
      addresses.settle(key);
      if (!page.index || /\b(?:noindex|none)\b/i.test(answer.header('x-robots-tag') ?? '')) return 'gone';
      return {
        // What the page is written in may be known to its server alone: then it is kept as Unicode, with a mark.
        body: once(text !== undefined && text !== decoded(bytes) ? Buffer.from(`\ufeff${text}`) : bytes),
        filename: filenameOf(answer.url, true),
        ...(page.title !== null && { title: page.title }),
        metadata: { url: key },
        fingerprint,
        state: { links: page.links },
      };
    }

    return {
      list,
      async fetch(item) {
        try {
          return await fetch(item);
        } catch (error) {
          if (signal.aborted || !(error instanceof SourceError)) throw error;
          // The first page stands for the site: without it nothing is known of what is gone.
          const { message, retryAfterMs } = error;
          if (item.key === home.href || refused >= MOST_REFUSED) {
            throw new SourceUnavailable(message, { cause: error, retryAfterMs });
          }
          if (error instanceof Elsewhere) return 'gone';
          addresses.settle(item.key);
          followKnown(item.key);
          throw error;
        }
      },
    };
  }

  async function readRobots(home: URL, signal: AbortSignal) {
    const url = new URL('/robots.txt', home).href;
    const answer = await http.get({ url, signal });
    // RFC 9309: a site that has no rules allows all, one that cannot tell them allows nothing for now.
    if (answer.status >= 500 || answer.status === 429) {
      answer.discard();
      throw refusal(answer);
    }
    const isThere = answer.status >= 200 && answer.status < 300;
    const text = isThere ? (await bytesOf(answer, MAX_ROBOTS_BYTES)).toString('utf8') : '';
    if (!isThere) answer.discard();
    return robotsParser(url, text);
  }

  /** `isWhole` is false where one could not be read, for whatever reason but that there is none. */
  async function sitemapUrls(
    home: URL,
    named: readonly string[],
    signal: AbortSignal,
  ): Promise<{ urls: string[]; isWhole: boolean }> {
    const waiting = [...(named.length > 0 ? named : [new URL('/sitemap.xml', home).href])];
    const urls: string[] = [];
    let isWhole = true;
    for (let read = 0; read < MOST_SITEMAPS; read++) {
      const url = waiting.shift();
      if (url === undefined) break;
      if (!URL.canParse(url) || !isSameSite(home, new URL(url))) continue;
      try {
        const answer = await http.get({ url, signal });
        if (answer.status !== 200) {
          answer.discard();
          if (answer.status !== 404 && answer.status !== 410) isWhole = false;
          continue;
        }
        const { pages, sitemaps, broken } = readSitemap(await bytesOf(answer, MAX_SITEMAP_BYTES));
        if (broken) isWhole = false;
        urls.push(...pages);
        waiting.push(...sitemaps);
      } catch (error) {
        // A hint, and the links are there without it.
        if (signal.aborted || !(error instanceof SourceError)) throw error;
        isWhole = false;
      }
    }
    return { urls, isWhole };
  }

  return { kind: 'web', settings: Settings, secrets: [], open };
}

/** A redirect that leads to where we were not asked to go. */
class Elsewhere extends SourceError {
  constructor(url: URL) {
    super(`It leads to another site, or where robots.txt does not allow us: ${url.href.slice(0, 300)}`);
  }
}
