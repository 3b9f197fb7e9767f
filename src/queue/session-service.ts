/**
 * A service that is one thing opened and closed again. Starts and stops run one after the other in the order of their
 * calls, so that a stop waits for the start before it and a second start finds the first; an `open` that fails leaves idle.
 */
import type { Service } from '../kernel/service.ts';

export interface SessionService<S> extends Service {
  /** The open session, if there is one. */
  current(): S | undefined;
}

export function createSessionService<S>({
  name,
  open,
  close,
}: {
  name: string;
  open(): Promise<S>;
  close(session: S): Promise<void>;
}): SessionService<S> {
  let session: S | undefined;
  let last: Promise<void> = Promise.resolve();

  function inTurn(fn: () => Promise<void>): Promise<void> {
    const mine = last.then(fn);
    // Told to its own caller; the next one begins all the same.
    last = mine.catch(() => undefined);
    return mine;
  }

  return {
    name,
    current: () => session,
    start: () =>
      inTurn(async () => {
        session ??= await open();
      }),
    stop: () =>
      inTurn(async () => {
        if (session === undefined) return;
        try {
          await close(session);
        } finally {
          session = undefined;
        }
      }),
  };
}
