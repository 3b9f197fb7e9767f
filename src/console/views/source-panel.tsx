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

type Loaded = Read | { problem: Problem } | null;

interface Read {
  /** What the source counts in; null where it is not kept any more. */
  text: string | null;
  /** The document: shows that text, a newer one, or is gone. */
  document: 'current' | 'replaced' | 'deleted';
}

/** The text that a source counts in, though its document may have changed since, or be gone. */
async function read(client: Client, { document_id: id, version }: Source, signal: AbortSignal): Promise<Read> {
  const unlessGone = (error: unknown) => {
    if (describe(error).code === 'not_found') return null;
    throw error;
  };
  const [document, text] = await Promise.all([
    client.documents.get(id).catch(unlessGone),
    client.documents.text(id, { version, signal }).catch(unlessGone),
  ]);
  if (!document) return { text: null, document: 'deleted' };
  return { text, document: version === null || document.version === version ? 'current' : 'replaced' };
}

export function SourcePanel({ client, source, onClose }: SourcePanelProps) {
  const texts = useTexts();
  const [loaded, setLoaded] = useState<Loaded>(null);
  const [tries, setTries] = useState(1);
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    const controller = new AbortController();
    setLoaded(null);
    read(client, source, controller.signal).then(
      (found) => {
        if (!controller.signal.aborted) setLoaded(found);
      },
      (error: unknown) => {
        if (!controller.signal.aborted) setLoaded({ problem: describe(error) });
      },
    );
    return () => controller.abort();
  }, [client, source.document_id, source.version, tries]);
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
            <FailureNote what={texts.sourceNotRead} problem={loaded.problem} onAgain={() => setTries(tries + 1)} />
            <AsCited source={source} />
          </>
        )}
        {loaded !== null && 'text' in loaded && loaded.text === null && (
          <>
            <p class="notice">{loaded.document === 'deleted' ? texts.sourceGone : texts.sourceNotKept}</p>
            <AsCited source={source} />
          </>
        )}
        {loaded !== null && 'text' in loaded && loaded.text !== null && (
          <>
            {loaded.document === 'replaced' && <p class="notice">{texts.sourceReplaced}</p>}
            <Passage key={`${source.chunk_id}-${source.start}`} text={loaded.text} source={source} />
          </>
        )}
      </div>
    </aside>
  );
}

function AsCited({ source }: { source: Source }) {
  return (
    <p class="passage">
      <mark>{source.quote}</mark>
    </p>
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
