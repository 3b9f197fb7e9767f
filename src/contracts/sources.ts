/** Sources of documents: as the REST API shows them, and the port of the plug-ins that read them. */
import { type Static, type TObject, Type } from '@sinclair/typebox';
import { Id, Nullable, Timestamp, VISIBILITIES, type Visibility } from './resources.ts';

export const SOURCE_STATUSES = ['waiting', 'syncing', 'idle', 'failed'] as const;

export const SyncCounts = Type.Object({
  added: Type.Integer(),
  updated: Type.Integer(),
  unchanged: Type.Integer(),
  removed: Type.Integer(),
  failed: Type.Integer({ description: 'Items that could not be taken in; `GET …/items?failed=true` says why' }),
});
export type SyncCounts = Static<typeof SyncCounts>;

export const SyncedSource = Type.Object({
  id: Id,
  kind: Type.String(),
  name: Type.String(),
  visibility: Type.Unsafe<Visibility>({ type: 'string', enum: [...VISIBILITIES] }),
  settings: Type.Record(Type.String(), Type.Unknown(), { description: 'Without credentials' }),
  has_credentials: Type.Boolean(),
  interval_minutes: Nullable(Type.Integer()),
  status: Type.Unsafe<(typeof SOURCE_STATUSES)[number]>({ type: 'string', enum: [...SOURCE_STATUSES] }),
  error: Nullable(Type.String({ description: 'Why the last sync failed' })),
  counts: Nullable(SyncCounts),
  next_sync_at: Nullable(Timestamp),
  started_at: Nullable(Timestamp),
  finished_at: Nullable(Timestamp),
  created_at: Timestamp,
});
export type SyncedSource = Static<typeof SyncedSource>;

export const SourceItemResource = Type.Object({
  key: Type.String(),
  document_id: Nullable(Id),
  error: Nullable(Type.String({ description: 'Why its newest content could not be taken in' })),
  updated_at: Timestamp,
});
export type SourceItemResource = Static<typeof SourceItemResource>;

/** Its kind's own settings stand beside these. */
export const NewSource = Type.Object(
  {
    kind: Type.String({ minLength: 1, maxLength: 50, description: '`web`, `mail`, `calendar`, `s3` or `folder`' }),
    name: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
    visibility: Type.Optional(Type.Unsafe<Visibility>({ type: 'string', enum: [...VISIBILITIES], default: 'tenant' })),
    interval_minutes: Type.Optional(
      Type.Integer({ minimum: 5, maximum: 525_600, description: 'Absent: synced when asked for' }),
    ),
  },
  {
    additionalProperties: true,
    example: { kind: 'web', url: 'https://docs.example.com/', depth: 3, max_pages: 500, interval_minutes: 1_440 },
  },
);
export type NewSource = Static<typeof NewSource> & Record<string, unknown>;

/** What a provider may keep: JSON. */
export type Kept = null | boolean | number | string | Kept[] | { [key: string]: Kept };

/** One thing that a source has. */
export interface SourceItem {
  /** What it is called there, up to 2,000 bytes: the same at each sync. */
  key: string;
  /** Where it equals that of the last sync, the item is not fetched. Null: only fetching tells. */
  fingerprint: string | null;
}

/** An item as the last sync left it. */
export interface KnownItem {
  fingerprint: string | null;
  state: Kept;
}

export interface SourceContent {
  body: AsyncIterable<Uint8Array>;
  filename: string;
  title?: string;
  metadata?: Record<string, unknown>;
  fingerprint: string | null;
  state?: Kept;
}

/** What one sync gives a provider to work with. */
export interface SourceRun {
  /** As its schema says, credentials included. */
  settings: Record<string, unknown>;
  tenantId: string;
  /** What the last sync ended with that took in every item; else null. */
  cursor: Kept;
  /** The most bytes of one item. */
  maxBytes: number;
  known(key: string): KnownItem | undefined;
  /** Of all items that the last sync left. */
  keys(): Iterable<string>;
  /** The file that was sent to the source; throws `SourceError` where none was. */
  file(): Promise<AsyncIterable<Uint8Array>>;
  signal: AbortSignal;
}

/** One sync. `fetch` is called for each listed item that has changed, before the next one is asked for. */
export interface SourceSession {
  /** All is as it was at the sync that left the cursor: nothing needs to be listed. */
  readonly unchanged?: boolean;
  /** Everything that the source has. What is missing here is removed, so whoever cannot tell throws. */
  list(): AsyncIterable<SourceItem>;
  /** `unchanged` and `gone` where only fetching tells. A throw fails this item alone. */
  fetch(item: SourceItem): Promise<SourceContent | 'unchanged' | 'gone'>;
  /** What the next sync is to know; asked when all went through. */
  cursor?(): Kept;
  close?(): Promise<void>;
}

/** A kind of source. `ingest/sources/README.md` shows how to write one. */
export interface SourceProvider {
  readonly kind: string;
  /** TypeBox schema of its settings. */
  readonly settings: TObject;
  /** Those of them that are encrypted and never shown. */
  readonly secrets: readonly string[];
  /** Administrators alone may make one. */
  readonly restricted?: boolean;
  /** Throws `SourceError` for settings that fit the schema and yet cannot work. */
  check?(settings: Record<string, unknown>, tenantId: string): Promise<void>;
  /** Throws `SourceError` where the source cannot be reached or refuses us: the sync fails and is tried again. */
  open(run: SourceRun): Promise<SourceSession>;
}
