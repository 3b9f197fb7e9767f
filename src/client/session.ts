/**
 * The signed-in session of a client. States: out (nothing stored), in (tokens stored), renewing (in, with one refresh
 * under way that every caller shares). A refresh that the server refuses leads to out; one that did not get through
 * leaves in. Refresh tokens rotate, and using one twice ends the session, so a store that several tabs share must run
 * `exclusive` work one tab at a time.
 */
import type { ClientClock } from './clock.ts';
import { ClientError, isSignedOut } from './errors.ts';
import type { TokenAnswer } from './types.ts';

export interface StoredSession {
  access_token: string;
  refresh_token: string;
  /** Milliseconds since the epoch, by this machine's clock. */
  expires_at: number;
  /** How long the access token was given for, in milliseconds. */
  lifetime_ms: number;
  user: TokenAnswer['user'];
  tenant: TokenAnswer['tenant'];
}

export interface TokenStore {
  read(): StoredSession | null;
  write(session: StoredSession | null): void;
  /** Runs `work` while no other holder of the same store does. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Calls back when somebody else changed the store; returns the unsubscriber. */
  watch(changed: () => void): () => void;
}

export interface Session {
  current(): StoredSession | null;
  save(answer: TokenAnswer): StoredSession;
  clear(): void;
  /** A token that is good for some seconds more. Rejects with `unauthenticated` when signed out. */
  token(): Promise<string>;
  /** A token other than `stale`. Rejects with `unauthenticated` when the session is over. */
  renew(stale: string): Promise<string>;
  onChange(listener: (session: StoredSession | null) => void): () => void;
}

export interface SessionOptions {
  store: TokenStore;
  clock: ClientClock;
  /** Trades a refresh token for new tokens; rejects with `unauthenticated` when it is refused. */
  refresh(refreshToken: string): Promise<TokenAnswer>;
}

/** An access token with less than this left is renewed before it is used. */
const MARGIN_MS = 5_000;

export function memoryTokenStore(): TokenStore {
  let session: StoredSession | null = null;
  return {
    read: () => session,
    write(value) {
      session = value;
    },
    exclusive: (work) => work(),
    watch: () => () => {},
  };
}

export function createSession({ store, clock, refresh }: SessionOptions): Session {
  const listeners = new Set<(session: StoredSession | null) => void>();
  let renewing: Promise<string> | undefined;

  function tell(): void {
    const session = store.read();
    for (const listener of [...listeners]) listener(session);
  }
  store.watch(tell);

  function save(answer: TokenAnswer): StoredSession {
    const lifetime = answer.expires_in * 1000;
    const session: StoredSession = {
      access_token: answer.access_token,
      refresh_token: answer.refresh_token,
      expires_at: clock.now() + lifetime,
      lifetime_ms: lifetime,
      user: answer.user,
      tenant: answer.tenant,
    };
    store.write(session);
    tell();
    return session;
  }

  function clear(): void {
    if (store.read() === null) return;
    store.write(null);
    tell();
  }

  async function exchange(stale: string): Promise<string> {
    const before = store.read();
    if (!before) throw signedOut();
    // Another tab, or a call just before this one, has renewed it already.
    if (before.access_token !== stale) return before.access_token;
    try {
      const answer = await refresh(before.refresh_token);
      // Logged out meanwhile: the new tokens must not bring the session back.
      if (store.read()?.refresh_token !== before.refresh_token) throw signedOut();
      return save(answer).access_token;
    } catch (error) {
      if (isSignedOut(error) && store.read()?.refresh_token === before.refresh_token) clear();
      throw error;
    }
  }

  function renew(stale: string): Promise<string> {
    renewing ??= store
      .exclusive(() => exchange(stale))
      .finally(() => {
        renewing = undefined;
      });
    return renewing;
  }

  return {
    current: () => store.read(),
    save,
    clear,
    renew,
    async token() {
      const session = store.read();
      if (!session) throw signedOut();
      return session.expires_at - clock.now() > MARGIN_MS ? session.access_token : renew(session.access_token);
    },
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function signedOut(): ClientError {
  return new ClientError('unauthenticated', 'Nobody is signed in.', { status: 401 });
}
