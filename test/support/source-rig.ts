/** Sources of all kinds over a rig: real providers, real acceptance, a sync at a time; and a site whose pages a test changes. */
import { expect } from 'bun:test';
import type { SourceProvider, SyncedSource } from '../../src/contracts/index.ts';
import { createSourceProviders } from '../../src/ingest/sources/providers.ts';
import type { Address } from '../../src/ingest/sources/reach.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createSealer } from '../../src/kernel/sealing.ts';
import { createSources } from '../../src/services/sources.ts';
import { createSyncs, type SyncsOptions } from '../../src/services/sync.ts';
import { createRig, type Rig, type RigOptions } from './rig.ts';

export type Who = { tenantId: string; userId: string };

export const closers: (() => Promise<unknown>)[] = [];
/** Closes all that was started here, last first. */
export async function closeAll(): Promise<void> {
  for (let close = closers.pop(); close; close = closers.pop()) await close();
}

const SECRET = 'a secret of the installation, long enough';
export const UPLOAD_LIMIT = 1_000_000;

interface Options extends RigOptions {
  /** Of the providers alone, who wait where a site asks for it. */
  clock?: Clock;
  allowPrivate?: boolean;
  resolve?(hostname: string): Promise<Address[]>;
  folders?: { path: string; tenantId: string | null }[];
  more?: SourceProvider[];
}

/** One database for all tests that want nothing special of it: each has tenants of its own. */
let shared: Promise<Rig> | undefined;
const rigs = new Set<Rig>();

export async function startSources({
  allowPrivate = true,
  resolve,
  folders = [],
  more = [],
  clock = systemClock,
  ...rigOptions
}: Options = {}) {
  const isPlain = Object.keys(rigOptions).length === 0;
  const making = (isPlain && shared) || createRig(rigOptions);
  if (isPlain) shared = making;
  const rig = await making;
  if (!rigs.has(rig)) closers.push(rig.close);
  rigs.add(rig);
  const { database, blobs, documents, uploads } = rig;
  const made = createSourceProviders({ allowPrivate, clock, folders, ...(resolve && { resolve }) });
  const providers = new Map([...made, ...more.map((one) => [one.kind, one] as const)]);
  const sealer = createSealer({ secrets: [SECRET], purpose: 'source credentials' });
  const base = { database, blobs, documents, providers, sealer, maxUploadBytes: UPLOAD_LIMIT };
  const sources = createSources({ ...base, ids: systemIds });
  const syncsWith = (over: Partial<SyncsOptions> = {}) =>
    createSyncs({ ...base, uploads, clock: systemClock, logger: silentLogger, ...over });
  const syncs = syncsWith();
  return {
    ...rig,
    sources,
    syncsWith,
    async make(who: Who, settings: Record<string, unknown> & { kind: string }): Promise<SyncedSource> {
      return rig.as(who, () => sources.create(settings, 'owner'));
    },
    /** Syncs once; answers with what came of it. */
    async sync(who: Who, { id }: SyncedSource): Promise<SyncedSource> {
      await rig.as(who, () => sources.sync(id));
      expect(await syncs.sync()).toBe(1);
      return rig.as(who, () => sources.get(id));
    },
    async itemsOf(who: Who, { id }: SyncedSource, failed = false) {
      const { items } = await rig.as(who, () => sources.items(id, { limit: 200, failed }));
      return items;
    },
    async documentsOf(who: Who) {
      const { items } = await rig.as(who, () => documents.list({ limit: 200 }));
      return items.toSorted((a, b) => ((a.source_item ?? '') < (b.source_item ?? '') ? -1 : 1));
    },
    textOf: async (who: Who, id: string) =>
      rig.as(who, async () => new Response((await documents.content(id)).stream).text()),
  };
}

export interface Page {
  body?: string | Uint8Array<ArrayBuffer>;
  type?: string;
  etag?: string;
  status?: number;
  location?: string;
}

/** A site whose pages a test changes; it answers conditional requests and notes what it was asked. */
export function startSite(pages: Record<string, Page>) {
  const asked: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request) {
      const { pathname } = new URL(request.url);
      const page = pages[pathname];
      if (!page) {
        asked.push(`404 ${pathname}`);
        return new Response('no', { status: 404 });
      }
      const { body = '', type = 'text/html; charset=utf-8', etag, status = 200, location } = page;
      const isKnown = etag !== undefined && request.headers.get('if-none-match') === etag;
      asked.push(`${isKnown ? 304 : status} ${pathname}`);
      const headers = { 'content-type': type, ...(etag && { etag }), ...(location && { location }) };
      return new Response(isKnown ? null : body, { status: isKnown ? 304 : status, headers });
    },
  });
  closers.push(() => server.stop(true));
  return { pages, asked, url: `http://127.0.0.1:${server.port}` };
}

export const html = (title: string, ...links: string[]) =>
  `<html><head><title>${title}</title></head><body><p>About ${title}.</p>${links.map((link) => `<a href="${link}">${link}</a>`).join('')}</body></html>`;
