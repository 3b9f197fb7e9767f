/**
 * The embedding spaces as this process sees them: which one searches ask, which ones are written, and what administrators
 * are told and may do (`repositories/spaces.ts` has the states). The list is read again every second; a process that has
 * not yet seen a switch goes on asking the space before, which is still written.
 */
import type { EmbeddingProvider, Reach, SpaceRequest, SpaceResource } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { ensureSpace, type SpaceIdentity } from '../db/spaces.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import {
  countBuilt,
  countPublished,
  listSpaces,
  type ShadowReport,
  type SpaceProgress,
  type SpaceRow,
  type Switched,
  setSpaceOptions,
  setSpaceState,
  sumShadows,
  switchTo,
} from '../repositories/spaces.ts';

/** A space with what embeds texts for it. */
export interface OpenSpace extends SpaceRow {
  embeddings: EmbeddingProvider;
}

export interface Spaces {
  /** The active one, read at most `STALE_MS` ago. Throws `provider_unavailable` where its vectors cannot be had here. */
  current(): Promise<OpenSpace>;
  /** Those that every publication is written to: the active one, what is built beside it, and the one before it. */
  written(): Promise<OpenSpace[]>;
  /** Those that shadow reads ask: all that are written, without the active one. */
  shadowed(): Promise<OpenSpace[]>;
  /** What the next call sees is read anew. */
  forget(): void;
  list(reach: Reach): Promise<{ items: SpaceResource[] }>;
  /** Begins to build a space beside the active one; the same identity again changes its options. */
  create(request: SpaceRequest): Promise<SpaceResource>;
  /** `conflict` while documents are missing in it, or where it is not one that could become active. */
  activate(id: number): Promise<SpaceResource>;
  /** Back to the space that this one, the active one, took over from. */
  rollback(id: number): Promise<SpaceResource>;
  retire(id: number): Promise<SpaceResource>;
}

export interface SpacesOptions {
  database: Database;
  /** Opens what embeds for a space; undefined where this process is not configured for it. */
  open(identity: SpaceIdentity): Promise<EmbeddingProvider | undefined>;
  /** Parser and chunker of this process: what a space is built with that asks for no other. */
  pipeline: string;
  clock: Clock;
  logger: Logger;
}

const FRESH_MS = 1_000;
/** Past this a caller waits for the list to be read again. */
const STALE_MS = 5_000;
const WRITTEN: readonly string[] = ['active', 'building', 'standby'];
const INSTALLATION: Reach = { kind: 'installation' };

export function createSpaces({ database, open, pipeline, clock, logger }: SpacesOptions): Spaces {
  const providers = new Map<number, Promise<EmbeddingProvider | undefined>>();
  let known: { spaces: SpaceRow[]; at: number } | undefined;
  let reading: Promise<SpaceRow[]> | undefined;

  function read(): Promise<SpaceRow[]> {
    reading ??= database
      .system(listSpaces)
      .then((spaces) => {
        known = { spaces, at: clock.now() };
        return spaces;
      })
      .finally(() => {
        reading = undefined;
      });
    return reading;
  }

  async function rows(): Promise<readonly SpaceRow[]> {
    const age = known ? clock.now() - known.at : Number.POSITIVE_INFINITY;
    if (!known || age > STALE_MS) return read();
    if (age > FRESH_MS) {
      read().catch((error: unknown) => logger.warn({ err: error }, `embedding spaces not read: ${messageOf(error)}`));
    }
    return known.spaces;
  }

  async function opened(space: SpaceRow): Promise<OpenSpace | undefined> {
    let provider = providers.get(space.id);
    if (!provider) {
      provider = open(space);
      providers.set(space.id, provider);
      provider.catch(() => providers.delete(space.id));
    }
    const embeddings = await provider;
    return embeddings && { ...space, embeddings };
  }

  async function current(): Promise<OpenSpace> {
    const active = (await rows()).find(({ state }) => state === 'active');
    const space = active && (await opened(active));
    if (space) return space;
    throw new AppError(
      'provider_unavailable',
      `No provider is configured for the active embedding space (${active?.provider} ${active?.model}).`,
    );
  }

  async function written(): Promise<OpenSpace[]> {
    const spaces = (await rows()).filter(({ state }) => WRITTEN.includes(state));
    return (await Promise.all(spaces.map(opened))).filter((space) => space !== undefined);
  }

  async function list(reach: Reach): Promise<{ items: SpaceResource[] }> {
    return database.system(async (sql) => {
      const spaces = await listSpaces(sql);
      const [built, published, shadows] = [
        await countBuilt(sql, reach),
        await countPublished(sql, reach),
        await sumShadows(sql, reach),
      ];
      return { items: spaces.map((space) => toResource(space, { built, published, shadows })) };
    });
  }

  async function one(id: number): Promise<SpaceResource> {
    known = undefined;
    const { items } = await list(INSTALLATION);
    const found = items.find((space) => space.id === id);
    if (!found) throw new AppError('not_found', 'There is no such embedding space.');
    return found;
  }

  async function switched(id: number, run: () => Promise<Switched>): Promise<SpaceResource> {
    const result = await run();
    if (result.done) {
      logger.info({ space_id: id }, 'searches ask another embedding space now');
      return one(id);
    }
    if (result.why === 'no_space') throw new AppError('not_found', 'There is no such embedding space.');
    if (result.why === 'missing') {
      throw new AppError('conflict', `${result.missing} documents are not yet in the space.`);
    }
    throw new AppError('conflict', 'The space is in a state in which it cannot become the active one.');
  }

  return {
    current,
    written,
    shadowed: async () => (await written()).filter(({ state }) => state !== 'active'),
    forget() {
      known = undefined;
    },
    list,

    async create({ provider, model, dimensions, shadow_share: shadowShare, observe_hours: observeHours }) {
      const space = await ensureSpace(database, {
        provider: provider ?? (await current()).provider,
        model,
        dimensions,
        pipeline,
      });
      await database.system(async (sql) => {
        await setSpaceOptions(sql, space.id, { shadowShare, observeHours });
        // What was given up is taken up again where it was left.
        await setSpaceState(sql, space.id, { from: ['read_only'], to: 'building' });
      });
      return one(space.id);
    },

    activate: (id) =>
      switched(id, () => database.system((sql) => switchTo(sql, id, { from: ['building', 'standby'], anyway: false }))),

    async rollback(id) {
      const space = (await database.system(listSpaces)).find((row) => row.id === id);
      if (!space) throw new AppError('not_found', 'There is no such embedding space.');
      const { state, previousId } = space;
      if (state !== 'active' || previousId === null) {
        throw new AppError('conflict', 'Only the active space can be rolled back, to the one that it took over from.');
      }
      await switched(previousId, () =>
        database.system((sql) => switchTo(sql, previousId, { from: ['standby'], anyway: true })),
      );
      return one(id);
    },

    async retire(id) {
      const row = await database.system((sql) =>
        setSpaceState(sql, id, { from: ['building', 'standby', 'read_only'], to: 'retired' }),
      );
      const space = await one(id);
      if (!row && space.state !== 'retired') throw new AppError('conflict', 'The active space cannot be retired.');
      return space;
    },
  };
}

interface Counts {
  built: readonly SpaceProgress[];
  published: number;
  shadows: readonly ShadowReport[];
}

function toResource(space: SpaceRow, { built, published, shadows }: Counts): SpaceResource {
  const progress = built.find(({ spaceId }) => spaceId === space.id);
  const shadow = shadows.find(({ spaceId }) => spaceId === space.id);
  const { id, provider, model, dimensions, pipeline, state, shadowShare, observeHours } = space;
  return {
    id,
    provider,
    model,
    dimensions,
    pipeline,
    state,
    created_at: space.createdAt.toISOString(),
    activated_at: space.activatedAt?.toISOString() ?? null,
    previous_id: space.previousId,
    shadow_share: shadowShare,
    observe_hours: observeHours,
    documents: { built: progress?.built ?? 0, total: published },
    chunks: progress?.chunks ?? 0,
    shadow: {
      compared: shadow?.compared ?? 0,
      failed: shadow?.failed ?? 0,
      overlap: shadow?.overlap ?? null,
      agreement: shadow?.agreement ?? null,
    },
  };
}
