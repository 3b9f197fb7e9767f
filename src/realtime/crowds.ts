/**
 * Readers of one log topic who are told together: sockets that the runtime itself sends an event to, for far less than a
 * call each. They share one position, so only those who have exactly the same are seated, and only what comes next for all of
 * them is told here.
 *
 * The runtime does not say who could not take an event, so after every `LOOK_BYTES` each member is looked at: one who has
 * fallen behind is let go at the position of the crowd and read to from the log. In between a socket may run over its
 * limit; it is cut then, never skipped (`ws/route.ts`).
 */
import type { Crowd, CrowdSeat, HubEvent } from '../contracts/index.ts';

export interface Member {
  readonly reader: { readonly seat?: CrowdSeat };
  epoch: string | undefined;
  last: number;
}

export interface Crowds<M extends Member> {
  readonly size: number;
  has(member: M): boolean;
  /** The event is the next one for everybody seated. */
  continues(event: HubEvent): boolean;
  /** Tells everybody seated; returns those who were let go because they have fallen behind. */
  tell(event: HubEvent): M[];
  /** Seats those of the candidates, all at this position, who are enough to make a crowd or have one already. */
  seat(candidates: readonly M[], epoch: string, last: number): void;
  /** Lets a member go; its position is the crowd's. Returns whom else that leaves too few to be a crowd. */
  release(member: M): M[];
  /** Lets everybody go. */
  disperse(): M[];
}

/** From so many on a crowd is formed; below the lower number it is given up. Below, a call each costs no more. */
export const ENOUGH = 8;
const TOO_FEW = 4;
const LOOK_BYTES = 32_768;

export function createCrowds<M extends Member>(room: string): Crowds<M> {
  const crowds = new Map<Crowd, Set<M>>();
  const seated = new Set<M>();
  let epoch = '';
  let last = 0;
  let unlooked = 0;

  function letGo(member: M): void {
    const { seat } = member.reader;
    seated.delete(member);
    member.epoch = epoch;
    member.last = last;
    if (!seat) return;
    const members = crowds.get(seat.crowd);
    members?.delete(member);
    if (members?.size === 0) crowds.delete(seat.crowd);
    seat.leave(room);
  }

  function letAllGo(members: Iterable<M>): M[] {
    const gone = [...members];
    for (const member of gone) letGo(member);
    return gone;
  }

  return {
    get size() {
      return seated.size;
    },
    has: (member) => seated.has(member),
    continues: (event) => event.epoch === epoch && event.seq === last + 1,
    tell(event) {
      for (const [crowd, members] of crowds) crowd.tell(room, event, members.size);
      last = event.seq;
      unlooked += event.json.length;
      if (unlooked < LOOK_BYTES) return [];
      unlooked = 0;
      return letAllGo([...seated].filter(({ reader }) => reader.seat?.keepsUp() === false));
    },
    seat(candidates, atEpoch, atLast) {
      const byCrowd = Map.groupBy(candidates, ({ reader }) => reader.seat?.crowd);
      for (const [crowd, more] of byCrowd) {
        if (!crowd) continue;
        const members = crowds.get(crowd) ?? new Set<M>();
        if (members.size + more.length < ENOUGH) continue;
        crowds.set(crowd, members);
        epoch = atEpoch;
        last = atLast;
        for (const member of more) {
          members.add(member);
          seated.add(member);
          member.reader.seat?.enter(room);
        }
      }
    },
    release(member) {
      const { seat } = member.reader;
      letGo(member);
      const left = seat && crowds.get(seat.crowd);
      return left && left.size < TOO_FEW ? letAllGo(left) : [];
    },
    disperse: () => letAllGo(seated),
  };
}
