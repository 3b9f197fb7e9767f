/** The passage that an answer rests on, in the text around it. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Client } from '../../client/client.ts';
import type { Source } from '../../client/types.ts';
import { describe, type Problem } from '../model/problem.ts';
import { useTexts } from './context.ts';
import { FailureNote } from './failure-note.tsx';
import { CheckIcon, CloseIcon } from './icons.tsx';

interface SourcePanelProps {
  client: Client;
  source: Source;
  onClose(): void;
}

/** Characters shown around the quote at first, and added with each click. */
const AROUND = 1_500;

type Loaded = { text: string } | { problem: Problem } | null;

export function SourcePanel({ client, source, onClose }: SourcePanelProps) {
  const texts = useTexts();
  const [loaded, setLoaded] = useState<Loaded>(null);
  const [tries, setTries] = useState(1);
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    const controller = new AbortController();
    setLoaded(null);
    client.documents.text(source.document_id, controller.signal).then(
      (text) => setLoaded({ text }),
      (error: unknown) => {
        if (!controller.signal.aborted) setLoaded({ problem: describe(error) });
      },
    );
    return () => controller.abort();
  }, [client, source.document_id, tries]);
  useEffect(() => panel.current?.focus(), [source]);
  return (
    <aside class="source-panel" aria-label={texts.source(source.n, source.title)} ref={panel} tabIndex={-1}>
      <header>
        <span class="source-n">{source.n}</span>
        <div>
          <h2>{source.title}</h2>
          <p class="muted">
            {source.page !== null && <span>{texts.page(source.page)}</span>}
            <span class={source.verified ? 'verified' : 'unverified'}>
              {source.verified && <CheckIcon />}
              {source.verified ? texts.verified : texts.unverified}
            </span>
          </p>
        </div>
        <button type="button" class="icon-button" aria-label={texts.closePanel} onClick={onClose}>
          <CloseIcon />
        </button>
      </header>
      <div class="source-body">
        {loaded === null && <p class="muted">{texts.loading}</p>}
        {loaded !== null && 'problem' in loaded && (
          <>
            {loaded.problem.code === 'not_found' ? (
              <p class="notice">{texts.sourceGone}</p>
            ) : (
              <FailureNote what={texts.sourceNotRead} problem={loaded.problem} onAgain={() => setTries(tries + 1)} />
            )}
            <p class="passage">
              <mark>{source.quote}</mark>
            </p>
          </>
        )}
        {loaded !== null && 'text' in loaded && (
          <Passage key={`${source.chunk_id}-${source.start}`} text={loaded.text} source={source} />
        )}
      </div>
    </aside>
  );
}

function Passage({ text, source }: { text: string; source: Source }) {
  const texts = useTexts();
  const mark = useRef<HTMLElement>(null);
  const [before, setBefore] = useState(AROUND);
  const [after, setAfter] = useState(AROUND);
  useEffect(() => mark.current?.scrollIntoView({ block: 'center' }), []);
  const quote = text.slice(source.start, source.end);
  if (quote === '' || quote !== source.quote) {
    return (
      <>
        <p class="notice">{texts.sourceMoved}</p>
        <p class="passage">
          <mark ref={mark}>{source.quote}</mark>
        </p>
      </>
    );
  }
  const from = wordStart(text, Math.max(0, source.start - before));
  const to = Math.min(text.length, source.end + after);
  return (
    <>
      {from > 0 && (
        <button type="button" class="link" onClick={() => setBefore(before + 4 * AROUND)}>
          {texts.earlierText}
        </button>
      )}
      <p class="passage">
        {from > 0 && '… '}
        {text.slice(from, source.start)}
        <mark ref={mark}>{quote}</mark>
        {text.slice(source.end, to)}
        {to < text.length && ' …'}
      </p>
      {to < text.length && (
        <button type="button" class="link" onClick={() => setAfter(after + 4 * AROUND)}>
          {texts.laterText}
        </button>
      )}
    </>
  );
}

/** The next place near `index` at which a line or word begins, so that the passage does not start inside one. */
function wordStart(text: string, index: number): number {
  if (index === 0) return 0;
  const next = text.slice(index, index + 80).search(/\s/);
  return next < 0 ? index : index + next + 1;
}
