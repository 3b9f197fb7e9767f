/** Whether an answer was good: two buttons, of which one may be pressed. */
import { useState } from 'preact/hooks';
import { describe } from '../model/problem.ts';
import { wordsFor } from '../texts.ts';
import { useTexts } from './context.ts';
import { ThumbIcon } from './icons.tsx';

interface RatingProps {
  rating: number | null;
  onRate(rating: 1 | -1): Promise<void>;
}

export function Rating({ rating, onRate }: RatingProps) {
  const texts = useTexts();
  const [failure, setFailure] = useState<string | null>(null);
  const rate = (next: 1 | -1) => {
    setFailure(null);
    onRate(next).catch((error: unknown) =>
      setFailure(`${texts.notRated}${texts.colon}${wordsFor(texts, describe(error))}`),
    );
  };
  return (
    <>
      <button
        type="button"
        class="icon-button quiet"
        aria-label={texts.good}
        aria-pressed={rating === 1}
        title={texts.good}
        onClick={() => rate(1)}
      >
        <ThumbIcon />
      </button>
      <button
        type="button"
        class="icon-button quiet thumb-down"
        aria-label={texts.bad}
        aria-pressed={rating === -1}
        title={texts.bad}
        onClick={() => rate(-1)}
      >
        <ThumbIcon />
      </button>
      {failure && (
        <span class="failure" role="alert">
          {failure}
        </span>
      )}
    </>
  );
}
