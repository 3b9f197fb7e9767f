/**
 * The embedding spaces as this process sees them: which one searches ask, which ones are written, and what administrators
 * are told and may do (`repositories/spaces.ts` has the states). The list is read again every second; a process that has
 * not yet seen a switch goes on asking the space before, which is still written.
 */
import type {
  EmbeddingProvider,
  Page,
  PageRequest,
  Reach,
  SpaceFailure,
  SpaceRequest,
  SpaceResource,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { ensureSpace, type SpaceIdentity } from '../db/spaces.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Logger } from '../kernel/logger.ts';
import {
  countBuilt,
  countFailures,
  countPublished,
  listFailures,
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
import { idsCursor, numberCursor, toPage } from './paging.ts';

/** A space with what embeds texts for it. */
export interface OpenSpace extends SpaceRow {
  embeddings: EmbeddingProvider;
  /** Other spaces of the same model, whose vectors are as good. */
  siblings: number[];
}

/** What one search asks: both halves of it the same. */
export interface AskedSpace {
  id: number;
  cut: number;
}

export interface Spaces {
  /** The active one, read at most `STALE_MS` ago; no provider is needed. */
  active(): Promise<AskedSpace>;
  /**
   * The one that `active` told of, or the active one. Throws `provider_unavailable` where its vectors cannot be had here.
   */
  current(asked?: AskedSpace): Promise<OpenSpace>;
  /** Whether it is built from chunks of its own pipeline, not from those that searches see. */
  isRecut(space: SpaceRow): boolean;
  /** Those that every publication is written to: the active one, what is built beside it, and the one before it. */
  written(): Promise<OpenSpace[]>;
  /** Those that shadow reads ask: all that are written, without the active one. */
  shadowed(): Promise<OpenSpace[]>;
  /** What the next call sees is read anew. */
  forget(): void;
  list(reach: Reach, page?: PageRequest): Promise<Page<SpaceResource>>;
  /** Documents that could not be cut anew for a space. */
  failures(id: number, reach: Reach, page: PageRequest): Promise<Page<SpaceFailure>>;
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
  /** What reads and cuts in this process (`pipelineVersion`): the first space's, and that of one that asks for it. */
  pipeline: string;
  clock: Clock;
  logger: Logger;
}

const FRESH_MS = 1_000;
/** Past this a caller waits for the list to be read again. */
const STALE_MS = 5_000;
const WRITTEN: readonly string[] = ['active', 'building', 'standby'];
const MOST_LISTED = 200;
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
    const siblings = (known?.spaces ?? []).filter((other) => other.state !== 'retired' && isSibling(space, other));
    return embeddings && { ...space, embeddings, siblings: siblings.map(({ id }) => id) };
  }

  const activeOf = (spaces: readonly SpaceRow[]) => spaces.find(({ state }) => state === 'active');

  async function active(): Promise<AskedSpace> {
    const { id = 0, cut = 0 } = activeOf(await rows()) ?? {};
    return { id, cut };
  }

  async function current(asked?: AskedSpace): Promise<OpenSpace> {
    const spaces = await rows();
    const active = spaces.find(({ id, state }) => id === asked?.id && state !== 'retired') ?? activeOf(spaces);
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

  async function all(reach: Reach): Promise<SpaceResource[]> {
    return database.system(async (sql) => {
      const spaces = await listSpaces(sql);
      const [built, published, shadows, failures] = [
        await countBuilt(sql, reach),
        await countPublished(sql, reach),
        await sumShadows(sql, reach),
        await countFailures(sql, reach),
      ];
      return spaces.map((space) => toResource(space, { built, published, shadows, failures }));
    });
  }

  async function one(id: number): Promise<SpaceResource> {
    known = undefined;
    const found = (await all(INSTALLATION)).find((space) => space.id === id);
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
    active,
    current,
    isRecut(space) {
      const active = activeOf(known?.spaces ?? []);
      return space.state === 'building' && active !== undefined && active.cut !== space.cut;
    },
    written,
    shadowed: async () => (await written()).filter(({ state }) => state !== 'active'),
    forget() {
      known = undefined;
    },
    async list(reach, { limit, cursor } = { limit: MOST_LISTED }) {
      const after = numberCursor(cursor, 0);
      const items = (await all(reach)).filter(({ id }) => id > after);
      return toPage(items.slice(0, limit + 1), limit, { cursor: ({ id }) => String(id), item: (space) => space });
    },

    async failures(id, reach, { limit, cursor }) {
      await one(id);
      const after = idsCursor(cursor);
      const rows = await database.system((sql) => listFailures(sql, id, { reach, after, limit: limit + 1 }));
      return toPage(rows, limit, {
        cursor: (row) => `${row.tenant_id}${row.document_id}`,
        item: ({ failed_at, ...row }) => ({ ...row, failed_at: failed_at.toISOString() }),
      });
    },

    async create({ shadow_share: shadowShare, observe_hours: observeHours, pipeline: wanted = 'active', ...model }) {
      const active = activeOf(await read());
      const identity = {
        provider: model.provider ?? active?.provider ?? '',
        model: model.model ?? active?.model ?? '',
        dimensions: model.dimensions ?? active?.dimensions ?? 0,
      };
      const newCut = wanted === 'current';
      if (!newCut && model.model === undefined && model.dimensions === undefined) {
        const errors = [{ path: '/model', message: 'another model, other dimensions or pipeline: current is needed' }];
        throw new AppError('invalid_request', 'That would be the space that there is.', { errors });
      }
      if (newCut && active?.pipeline === pipeline && isSame(active, identity)) {
        throw new AppError('conflict', `The active space is of this pipeline (${pipeline}) and model already.`);
      }
      const asked = { ...identity, pipeline: newCut ? pipeline : (active?.pipeline ?? pipeline) };
      const space = await ensureSpace(database, asked, { newCut });
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

type Model = Pick<SpaceRow, 'provider' | 'model' | 'dimensions'>;

const isSame = (one: Model, other: Model) =>
  one.provider === other.provider && one.model === other.model && one.dimensions === other.dimensions;

const isSibling = (one: SpaceRow, other: SpaceRow) => one.id !== other.id && isSame(one, other);

interface Counts {
  built: readonly SpaceProgress[];
  published: number;
  shadows: readonly ShadowReport[];
  failures: readonly { spaceId: number; failed: number }[];
}

function toResource(space: SpaceRow, { built, published, shadows, failures }: Counts): SpaceResource {
  const progress = built.find(({ spaceId }) => spaceId === space.id);
  const shadow = shadows.find(({ spaceId }) => spaceId === space.id);
  const { id, provider, model, dimensions, pipeline, cut, state, shadowShare, observeHours } = space;
  return {
    id,
    provider,
    model,
    dimensions,
    pipeline,
    cut,
    state,
    created_at: space.createdAt.toISOString(),
    activated_at: space.activatedAt?.toISOString() ?? null,
    previous_id: space.previousId,
    shadow_share: shadowShare,
    observe_hours: observeHours,
    documents: {
      built: progress?.built ?? 0,
      total: published,
      failed: failures.find(({ spaceId }) => spaceId === id)?.failed ?? 0,
    },
    chunks: progress?.chunks ?? 0,
    shadow: {
      compared: shadow?.compared ?? 0,
      failed: shadow?.failed ?? 0,
      overlap: shadow?.overlap ?? null,
      agreement: shadow?.agreement ?? null,
    },
  };
}
