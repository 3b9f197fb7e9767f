/** What this browser remembers. Storage may be forbidden; then it is remembered for as long as the page lives. */
import type { Language } from './texts.ts';

const LANGUAGE_KEY = 'dreamhub.language';

export function browserStorage(): Storage {
  try {
    const probe = 'dreamhub.probe';
    localStorage.setItem(probe, '1');
    localStorage.removeItem(probe);
    return localStorage;
  } catch {
    return memoryStorage();
  }
}

export function readLanguage(storage: Storage, preferred: readonly string[]): Language {
  const chosen = storage.getItem(LANGUAGE_KEY);
  if (chosen === 'en' || chosen === 'zh') return chosen;
  const first = preferred.find((tag) => /^(en|zh)\b/i.test(tag));
  return first && /^zh/i.test(first) ? 'zh' : 'en';
}

export function writeLanguage(storage: Storage, language: Language): void {
  storage.setItem(LANGUAGE_KEY, language);
}

function memoryStorage(): Storage {
  const items = new Map<string, string>();
  return {
    get length() {
      return items.size;
    },
    clear: () => items.clear(),
    getItem: (key) => items.get(key) ?? null,
    key: (index) => [...items.keys()][index] ?? null,
    removeItem: (key) => void items.delete(key),
    setItem: (key, value) => void items.set(key, value),
  };
}
