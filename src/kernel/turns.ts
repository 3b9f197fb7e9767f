/**
 * Tenants take turns at what this process computes and has its database compute: background work passes through a few
 * places in steps, in the fair order of `fair-places.ts`. What people wait for in front of a screen never does.
 *
 * The turn of a step is ambient, like its scope: whatever computes for long calls `breathe()` between two slices,
 * and whoever waits for somebody else's server waits in `away()`; where there is no turn, both are nothing special.
 * Neither belongs inside a transaction: its locks would be held while others have their turn.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { availableParallelism } from 'node:os';
import type { Clock } from './clock.ts';
import { currentScope } from './context.ts';
import { createFairPlaces, type Place } from './fair-places.ts';

/** `ingest` is a tenant's own flow; `background` is one flow of all tenants, with the lowest claim. */
export type TurnLane = 'ingest' | 'background';

export interface TurnOptions {
  signal?: AbortSignal;
  lane?: TurnLane;
  /** Another step follows at once: the place is kept for it for a moment. */
  more?: boolean;
}

export interface Turns {
  /**
   * Runs a step of the current tenant when it is its turn; within a turn at once, as a part of it. Rejects with the
   * signal's reason where it aborts before the step began, else as the step does; with `internal` where a step of the
   * lane `ingest` is in no tenant's scope.
   */
  take<T>(step: () => Promise<T>, options?: TurnOptions): Promise<T>;
  /**
   * Somebody of the current tenant waits for work that is about to come: a place is kept for its first step for a moment,
   * unless the tenant is at work already.
   */
  expect(): void;
  /** A tenant's share among those that wait, as the dispatcher has it. */
  weigh(tenantId: string, weight: number): void;
  /** Places that are held and steps that wait for one. */
  counts(): { held: number; waiting: number };
}

export interface TurnsOptions {
  clock: Clock;
  /** `PLACES` by default. */
  places?: number;
  /** As many while one tenant alone is at work; twice as many by default, for steps wait, too. */
  alone?: number;
  /** Told how long each step waited, in seconds. */
  onWaited?(lane: TurnLane, seconds: number): void;
}

/** As many as cores, but two, as the database computes as well: more would only slow each other down. */
export const PLACES = Math.max(2, availableParallelism());

/** What a tenant that was quiet may use before it is one among equals: a few documents of some pages. */
const CREDIT_MS = 500;
/** From an upload to the first step of its document. */
const EXPECTED_MS = 250;
const BACKGROUND = 'background';
const BACKGROUND_WEIGHT = 0.1;

interface Turn {
  readonly owner: object;
  readonly isOver: boolean;
  breathe(): Promise<void>;
  away<T>(wait: () => Promise<T>): Promise<T>;
}

const ambient = new AsyncLocalStorage<Turn>();

/**
 * Lets whatever else waits in this process go on, and gives the turn to a tenant that has had less. Rejects with the
 * step's signal's reason where it aborts meanwhile.
 */
export async function breathe(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
  await ambient.getStore()?.breathe();
}

/** Waits for others outside of the turn, and comes back to it. Where the wait fails, the step ends without its place. */
export function away<T>(wait: () => Promise<T>): Promise<T> {
  const turn = ambient.getStore();
  return turn ? turn.away(wait) : wait();
}

export function createTurns({ clock, places = PLACES, alone = 2 * places, onWaited }: TurnsOptions): Turns {
  const weights = new Map<string, number>();
  const gate = createFairPlaces({
    places,
    alone,
    clock,
    onEntered: (flow, ms) => onWaited?.(flow === BACKGROUND ? 'background' : 'ingest', ms / 1_000),
  });

  function enter(flow: string, signal: AbortSignal | undefined): Promise<Place> {
    if (flow === BACKGROUND) return gate.enter(flow, { weight: BACKGROUND_WEIGHT, signal });
    return gate.enter(flow, { weight: weights.get(flow) ?? 1, creditMs: CREDIT_MS, signal });
  }

  async function take<T>(step: () => Promise<T>, { signal, lane = 'ingest', more = false }: TurnOptions = {}) {
    const outer = ambient.getStore();
    if (outer?.owner === gate && !outer.isOver) return step();
    const flow = lane === 'background' ? BACKGROUND : currentScope().tenantId;
    /** Undefined while it is given up. */
    let place: Place | undefined = await enter(flow, signal);
    let isOver = false;
    /** Parts of the step that wait elsewhere; the last to return takes the place again. */
    let outside = 0;

    function giveUp(): void {
      if (place) gate.leave(place);
      place = undefined;
    }

    async function takeAgain(): Promise<void> {
      const again = await enter(flow, signal);
      // The step is over, or another part of it was back before.
      if (isOver || place) gate.leave(again);
      else place = again;
    }

    const turn: Turn = {
      owner: gate,
      get isOver() {
        return isOver;
      },
      async breathe() {
        if (!place || outside > 0 || !gate.isWanted(place)) return;
        outside += 1;
        giveUp();
        try {
          await takeAgain();
        } finally {
          outside -= 1;
        }
      },
      async away(wait) {
        outside += 1;
        giveUp();
        let result: Awaited<ReturnType<typeof wait>>;
        try {
          result = await wait();
        } finally {
          outside -= 1;
        }
        if (outside === 0 && !isOver && !place) await takeAgain();
        return result;
      },
    };
    try {
      return await ambient.run(turn, step);
    } finally {
      isOver = true;
      if (place) gate.leave(place, more);
    }
  }

  return {
    take,
    expect() {
      const { tenantId } = currentScope();
      gate.expect(tenantId, EXPECTED_MS, { weight: weights.get(tenantId) ?? 1, creditMs: CREDIT_MS });
    },
    weigh(tenantId, weight) {
      if (weight > 0 && weight !== 1 && Number.isFinite(weight)) weights.set(tenantId, weight);
      else weights.delete(tenantId);
    },
    counts: () => ({ held: gate.held(), waiting: gate.waiting() }),
  };
}
