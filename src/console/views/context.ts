/** What every view may need without being handed it through all those above. */
import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { TEXTS, type Texts } from '../texts.ts';

export const TextsContext = createContext<Texts>(TEXTS.en);

export function useTexts(): Texts {
  return useContext(TextsContext);
}
