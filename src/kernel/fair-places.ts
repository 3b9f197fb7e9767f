/**
 * A few places that flows of work share by weighted virtual time. A flow that has been served c milliseconds at weight w
 * has moved on by c / w, and whoever waits and has moved the least is next. Costs are charged as they are found out, by the
 * time that a place was held: start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996), which needs no cost beforehand
 * and so serves for processors (Goyal, Guo, Vin, OSDI 1996); several at once as in SFQ(D) (Jin, Chase, Kaur, SIGMETRICS
 * 2004); the virtual clock as in WF2Q+ (Bennett, Zhang, Transactions on Networking 1997), so that newcomers without end
 * cannot stop it.
 *
 * A flow that comes back from idleness begins a little behind the clock (`creditMs`, as borrowed virtual time: Duda,
 * Cheriton, SOSP 1999): short work of the quiet goes before long work of the busy, and by no more than that.
 *
 * A place is free → held → given back, or held → kept: its flow is believed to come back at once (anticipatory
 * scheduling: Iyer, Druschel, SOSP 2001), and loses it to a flow that has moved less, or after `keepMs`. A holder who
 * does not breathe for `patienceMs` while somebody waits who has moved less is overdue: its place is lent. It goes on
 * beside the others, at most as many so as there are places, and what it costs is charged all the same.
 */
import type { Clock } from './clock.ts';

export interface FairPlacesOptions {
  /** How many may be held at once; at least 1. */
  places: number;
  /** How many may be held while there is but one flow, which harms nobody; as many by default. */
  alone?: number;
  clock: Clock;
  keepMs?: number;
  patienceMs?: number;
  /** Told of every place that is given, with the milliseconds that it was waited for. */
  onEntered?(flow: string, waitedMs: number): void;
}

export interface Claim {
  /** Share among flows; 1 by default. */
  weight?: number;
  /** What the flow may use before it is one among equals, when it comes back; in milliseconds, 0 by default. */
  creditMs?: number;
  signal?: AbortSignal | undefined;
}

/** A place that is held. */
export interface Place {
  readonly flow: string;
}

export interface FairPlaces {
  /** Waits for a place, which must be left again. Rejects with the signal's reason; then there is nothing to leave. */
  enter(flow: string, claim?: Claim): Promise<Place>;
  /** Gives a place back; leaving twice changes nothing. `more`: its flow comes back at once. */
  leave(place: Place, more?: boolean): void;
  /**
   * Keeps a place for a flow that has none and will come within `ms`, beyond those that there are if need be: the others
   * make room for it as their steps end. Does nothing where nobody else is here, or where the flow is at work already.
   */
  expect(flow: string, ms: number, claim?: Omit<Claim, 'signal'>): void;
  /** Whether somebody waits who has moved less, or the place was lent already: its holder should leave and enter again. */
  isWanted(place: Place): boolean;
  /** Places that are held or kept, lent ones included. */
  held(): number;
  waiting(): number;
}

interface Waiter {
  since: number;
  give(place: Held): void;
}

/** A flow with a place or in wait of one. */
interface Flow {
  readonly key: string;
  weight: number;
  /** Virtual time by which it may begin behind the clock. */
  credit: number;
  /** Virtual time up to which the flow has been charged. */
  tag: number;
  readonly places: Set<Held>;
  readonly queue: Waiter[];
}

interface Held extends Place {
  readonly of: Flow;
  /** Up to when the place is charged. */
  charged: number;
  entered: number;
  overdue: boolean;
  /** Set while the place is kept and not held. */
  endKeeping: (() => void) | undefined;
}

/** Idle flows that are remembered before those are forgotten that the clock has passed: they are as good as new. */
const REMEMBERED = 1_000;

export function createFairPlaces(options: FairPlacesOptions): FairPlaces {
  const { places, alone = places, clock, keepMs = 2, patienceMs = 20, onEntered = () => {} } = options;
  if (!Number.isInteger(places) || places < 1) throw new RangeError(`${places} places: at least one is needed`);
  const flows = new Map<string, Flow>();
  /** What idle flows have moved. */
  const resting = new Map<string, Pick<Flow, 'tag' | 'credit'>>();
  const taken = new Set<Held>();
  let virtual = 0;
  let stopWatching = () => {};

  /** What the flow has moved, with what its places have cost since they were last charged. */
  function movedBy(flow: Flow, now: number): number {
    let uncharged = 0;
    for (const { charged } of flow.places) uncharged += Math.max(0, now - charged);
    return flow.tag + uncharged / flow.weight;
  }

  function charge(place: Held, now: number): void {
    const cost = Math.max(0, now - place.charged);
    place.charged = now;
    place.of.tag += cost / place.of.weight;
    let weights = 0;
    for (const { weight } of flows.values()) weights += weight;
    // Alone, a flow is the clock: what it once borrowed would put it before newcomers for as long as it is busy.
    virtual = flows.size === 1 ? place.of.tag : virtual + cost / Math.max(weights, place.of.weight);
  }

  /** Who is next: of the flows that wait the one that moved least, then the one with fewer places, then the first to come. */
  function next(now: number): Flow | undefined {
    let best: { flow: Flow; moved: number } | undefined;
    for (const flow of flows.values()) {
      if (flow.queue.length === 0) continue;
      const moved = movedBy(flow, now);
      if (best && (moved > best.moved || (moved === best.moved && flow.places.size >= best.flow.places.size))) continue;
      best = { flow, moved };
    }
    return best?.flow;
  }

  function wake(key: string, weight: number, creditMs: number): Flow {
    const known = flows.get(key);
    if (known) return Object.assign(known, { weight });
    // The clock stands where what is held was last charged; a long holder would be behind a newcomer for as long as it held.
    const now = clock.now();
    for (const place of taken) charge(place, now);
    const credit = creditMs / weight;
    const tag = Math.max(resting.get(key)?.tag ?? Number.NEGATIVE_INFINITY, virtual - credit);
    resting.delete(key);
    const flow = { key, weight, credit, tag, places: new Set<Held>(), queue: [] };
    flows.set(key, flow);
    return flow;
  }

  function rest(flow: Flow): void {
    if (flow.places.size > 0 || flow.queue.length > 0) return;
    const { key, tag, credit } = flow;
    flows.delete(key);
    resting.set(key, { tag, credit });
    if (resting.size <= REMEMBERED) return;
    for (const [key, { tag, credit }] of resting) if (tag <= virtual - credit) resting.delete(key);
  }

  const counted = () => {
    let count = 0;
    for (const { overdue } of taken) if (!overdue) count += 1;
    return count;
  };

  const room = () => (flows.size > 1 ? places : alone);

  function remove(place: Held): void {
    place.endKeeping?.();
    place.endKeeping = undefined;
    charge(place, clock.now());
    taken.delete(place);
    place.of.places.delete(place);
    rest(place.of);
  }

  /** Takes a place that is only kept, for somebody who has moved less than its flow. */
  function takeKept(flow: Flow, now: number): boolean {
    const moved = movedBy(flow, now);
    for (const place of taken) {
      if (!place.endKeeping || movedBy(place.of, now) <= moved) continue;
      remove(place);
      return true;
    }
    return false;
  }

  function give(flow: Flow, now: number): void {
    const waiter = flow.queue.shift();
    if (!waiter) return;
    virtual = Math.max(virtual, movedBy(flow, now));
    onEntered(flow.key, now - waiter.since);
    waiter.give(add(flow, now));
  }

  function add(flow: Flow, now: number): Held {
    const { key } = flow;
    const place: Held = { flow: key, of: flow, charged: now, entered: now, overdue: false, endKeeping: undefined };
    taken.add(place);
    flow.places.add(place);
    return place;
  }

  function keep(place: Held, ms: number): void {
    place.endKeeping?.();
    place.endKeeping = clock.after(ms, () => {
      remove(place);
      settle();
    });
  }

  function expect(key: string, ms: number, { weight = 1, creditMs = 0 }: Omit<Claim, 'signal'> = {}): void {
    const known = flows.get(key);
    if (known) {
      for (const place of known.places) if (place.endKeeping) keep(place, ms);
    } else if (flows.size > 0 && taken.size < 2 * places) {
      keep(add(wake(key, weight, creditMs), clock.now()), ms);
    }
  }

  function settle(): void {
    const now = clock.now();
    for (let flow = next(now); flow; flow = next(now)) {
      while (counted() >= room() && takeKept(flow, now));
      if (counted() >= room()) break;
      give(flow, now);
    }
    watch(now);
  }

  /** Looks again when a holder may be overdue, or what is kept has cost too much; neither matters while nobody waits. */
  function watch(now: number): void {
    stopWatching();
    stopWatching = () => {};
    const flow = next(now);
    if (!flow) return;
    const mayLend = taken.size - counted() < places;
    let at = Number.POSITIVE_INFINITY;
    for (const place of taken) {
      if (place.endKeeping) {
        const ahead = (movedBy(flow, now) - movedBy(place.of, now)) * place.of.weight;
        at = Math.min(at, now + Math.max(0, Math.floor(ahead)) + 1);
        continue;
      }
      if (!mayLend || place.overdue || place.of === flow) continue;
      const due = place.entered + patienceMs;
      // One that was passed over because it had moved less is looked at again.
      at = Math.min(at, due > now ? due : now + patienceMs);
    }
    if (at !== Number.POSITIVE_INFINITY) stopWatching = clock.after(at - now, look);
  }

  function look(): void {
    const now = clock.now();
    const flow = next(now);
    if (flow && taken.size - counted() < places) lend(flow, now);
    settle();
  }

  function lend(flow: Flow, now: number): void {
    const moved = movedBy(flow, now);
    let most: { place: Held; moved: number } | undefined;
    for (const place of taken) {
      if (place.overdue || place.endKeeping || place.of === flow || now - place.entered < patienceMs) continue;
      const holder = movedBy(place.of, now);
      if (holder > moved && (!most || holder > most.moved)) most = { place, moved: holder };
    }
    if (most) most.place.overdue = true;
  }

  function enter(key: string, { weight = 1, creditMs = 0, signal }: Claim = {}): Promise<Place> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const now = clock.now();
    const flow = wake(key, weight, creditMs);
    for (const place of flow.places) {
      if (!place.endKeeping) continue;
      place.endKeeping();
      place.endKeeping = undefined;
      charge(place, now);
      place.entered = now;
      onEntered(key, 0);
      return Promise.resolve(place);
    }
    return new Promise<Place>((resolve, reject) => {
      const onAbort = () => {
        flow.queue.splice(flow.queue.indexOf(waiter), 1);
        rest(flow);
        settle();
        reject(signal?.reason);
      };
      const waiter: Waiter = {
        since: now,
        give(place) {
          signal?.removeEventListener('abort', onAbort);
          resolve(place);
        },
      };
      flow.queue.push(waiter);
      signal?.addEventListener('abort', onAbort, { once: true });
      settle();
    });
  }

  const heldOf = (place: Place): Held | undefined => {
    const held = place as Held;
    return taken.has(held) && !held.endKeeping ? held : undefined;
  };

  return {
    enter,
    expect,
    leave(given, more = false) {
      const place = heldOf(given);
      if (!place) return;
      const flow = place.of;
      if (more && flows.size > 1 && !place.overdue && flow.queue.length === 0) {
        charge(place, clock.now());
        keep(place, keepMs);
      } else remove(place);
      settle();
    },
    isWanted(given) {
      const place = heldOf(given);
      if (!place) return false;
      const now = clock.now();
      const flow = next(now);
      return place.overdue || (flow !== undefined && flow !== place.of && movedBy(flow, now) < movedBy(place.of, now));
    },
    held: () => taken.size,
    waiting: () => [...flows.values()].reduce((sum, { queue }) => sum + queue.length, 0),
  };
}
