/** One answer: its text with the citations as buttons, and below it the sources that it cites. */
import { useState } from 'preact/hooks';
import type { Source } from '../../client/types.ts';
import { Markdown } from '../markdown.tsx';
import { useTexts } from './context.ts';
import { CheckIcon, CopyIcon } from './icons.tsx';
import { Rating } from './rating.tsx';

interface AnswerProps {
  text: string;
  sources: readonly Source[];
  /** More is to come. */
  streaming: boolean;
  openSource: Source | null;
  onSource(source: Source): void;
  /** Of an answer that is kept. */
  rating?: number | null;
  onRate?(rating: 1 | -1): Promise<void>;
}

export function Answer({ text, sources, streaming, openSource, onSource, rating = null, onRate }: AnswerProps) {
  const texts = useTexts();
  const byNumber = new Map(sources.map((source) => [source.n, source]));
  const cited = sources.filter((source) => text.includes(`[${source.n}]`));
  const listed = cited.length > 0 ? cited : streaming ? [] : sources;
  // An answer that cites nothing rests on nothing for sure; what it was given is then called by another name.
  const heading = cited.length > 0 ? texts.sources : texts.consulted;
  const isOpen = (source: Source) => openSource?.chunk_id === source.chunk_id && openSource.n === source.n;
  return (
    <>
      <div class={streaming ? 'answer-text streaming' : 'answer-text'}>
        <Markdown
          text={text}
          citation={(n) => {
            const source = byNumber.get(n);
            if (!source) return undefined;
            return (
              <button
                type="button"
                class="cite"
                aria-label={texts.source(n, source.title)}
                aria-pressed={isOpen(source)}
                title={source.title}
                onClick={() => onSource(source)}
              >
                {n}
              </button>
            );
          }}
        />
      </div>
      {!streaming && listed.length > 0 && (
        <section class="sources" aria-label={heading}>
          <h3>{heading}</h3>
          <ol>
            {listed.map((source) => (
              <li key={source.n}>
                <button
                  type="button"
                  class="source"
                  title={source.quote}
                  aria-pressed={isOpen(source)}
                  onClick={() => onSource(source)}
                >
                  <span class="source-n">{source.n}</span>
                  <span class="source-title">{source.title}</span>
                  {source.page !== null && <span class="source-page">{texts.page(source.page)}</span>}
                </button>
              </li>
            ))}
          </ol>
        </section>
      )}
      {!streaming && text !== '' && sources.length === 0 && <p class="muted">{texts.unsupported}</p>}
      {!streaming && text !== '' && (
        <div class="answer-tools">
          <CopyButton text={text} />
          {onRate && <Rating rating={rating} onRate={onRate} />}
        </div>
      )}
    </>
  );
}

function CopyButton({ text }: { text: string }) {
  const texts = useTexts();
  const [copied, setCopied] = useState(false);
  // Absent on plain HTTP away from localhost.
  if (!navigator.clipboard) return null;
  return (
    <button
      type="button"
      class="icon-button quiet copy"
      aria-label={copied ? texts.copied : texts.copy}
      onClick={() =>
        void navigator.clipboard.writeText(text).then(
          () => setCopied(true),
          () => {},
        )
      }
    >
      {copied ? <CheckIcon /> : <CopyIcon />}
    </button>
  );
}
