/** Ends the responses that outlive their request's check of the session: event streams. Sockets have `ws/sockets.ts`. */
import type { Principal } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { type Control, endsSession } from '../realtime/control.ts';

export interface SessionEndOptions {
  control: Pick<Control, 'onEnded' | 'onReconnected'>;
  /** The principal as it is now; null where it is over. */
  principals: { confirm(principal: Principal): Promise<Principal | null> };
  clock: Clock;
}

/** Calls `end` when the session ends or its token expires, once or more often; returns what stops that. */
export type SessionEnd = (principal: Principal, end: () => void) => () => void;

/** What a timer can hold: keys of the API expire later than that, or never. */
const LONGEST_MS = 2_147_483_647;

export function createSessionEnd({ control, principals, clock }: SessionEndOptions): SessionEnd {
  return (principal, end) => {
    const stops = [
      control.onEnded((ended) => {
        if (endsSession(ended, principal)) end();
      }),
      // An order may have been missed. Who cannot be asked for now was asked for when the stream began.
      control.onReconnected(() => {
        principals.confirm(principal).then(
          (now) => now?.role !== principal.role && end(),
          () => undefined,
        );
      }),
      clock.after(Math.min(LONGEST_MS, principal.expiresAt - clock.now()), end),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  };
}
