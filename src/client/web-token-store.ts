/**
 * Tokens in a browser's `localStorage`, so that a reload and a second tab stay signed in. Tabs renew one at a time (Web
 * Locks; without them, as on plain HTTP away from localhost, the re-read before each refresh makes a clash rare).
 * Scripts of the page can read it: use it only under a policy that lets no foreign script run.
 */
import type { StoredSession, TokenStore } from './session.ts';

export interface WebTokenStoreOptions {
  storage: Storage;
  key?: string;
  locks?: LockManager | undefined;
  /** Where `storage` events of other tabs arrive. */
  events?: EventTarget | undefined;
}

export function webTokenStore({ storage, key = 'dreamhub.session', locks, events }: WebTokenStoreOptions): TokenStore {
  return {
    read() {
      const text = storage.getItem(key);
      if (text === null) return null;
      try {
        const value: unknown = JSON.parse(text);
        return isStoredSession(value) ? value : null;
      } catch {
        return null;
      }
    },
    write(session) {
      if (session) storage.setItem(key, JSON.stringify(session));
      else storage.removeItem(key);
    },
    exclusive: (work) => (locks ? locks.request(`${key}.renew`, work) : work()),
    watch(changed) {
      const listener = (event: Event) => {
        if (event instanceof StorageEvent && (event.key === key || event.key === null)) changed();
      };
      events?.addEventListener('storage', listener);
      return () => events?.removeEventListener('storage', listener);
    },
  };
}

function isStoredSession(value: unknown): value is StoredSession {
  return (
    typeof value === 'object' &&
    value !== null &&
    'access_token' in value &&
    typeof value.access_token === 'string' &&
    'refresh_token' in value &&
    typeof value.refresh_token === 'string' &&
    'expires_at' in value &&
    typeof value.expires_at === 'number' &&
    'lifetime_ms' in value &&
    typeof value.lifetime_ms === 'number' &&
    'user' in value &&
    'tenant' in value
  );
}
