/** What went wrong in words, with a way to try it again. */
import type { Problem } from '../model/problem.ts';
import { wordsFor } from '../texts.ts';
import { useTexts } from './context.ts';

interface FailureNoteProps {
  /** What could not be done. */
  what: string;
  /** Why, as far as is known. */
  problem: Problem | null;
  onAgain(): void;
}

export function FailureNote({ what, problem, onAgain }: FailureNoteProps) {
  const texts = useTexts();
  return (
    <div class="failure" role="alert">
      <span>
        {what}
        {problem && `${texts.colon}${wordsFor(texts, problem)}`}
      </span>
      <button type="button" class="link" onClick={onAgain}>
        {texts.tryAgain}
      </button>
    </div>
  );
}
