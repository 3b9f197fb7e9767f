import { useRef, useState } from 'preact/hooks';
import { formatBytes, formatWhen } from '../format.ts';
import type { DocumentRow, DocumentsModel } from '../model/documents.ts';
import { useStore } from '../store.ts';
import { type Texts, wordsFor } from '../texts.ts';
import { useTexts } from './context.ts';
import { Dialog } from './dialog.tsx';
import { FailureNote } from './failure-note.tsx';
import { CheckIcon, CloseIcon, FileIcon, TrashIcon, UploadIcon } from './icons.tsx';

export function DocumentsPane({ model }: { model: DocumentsModel }) {
  const texts = useTexts();
  const { rows, loaded, failure, nextCursor } = useStore(model.store);
  const [deleting, setDeleting] = useState<DocumentRow | null>(null);
  const input = useRef<HTMLInputElement>(null);
  return (
    <section class="pane documents" aria-label={texts.documents} id="documents">
      <header class="pane-head">
        <h2>{texts.documents}</h2>
      </header>
      <button type="button" class="drop" onClick={() => input.current?.click()}>
        <UploadIcon />
        <span>{texts.drop}</span>
        <small>{texts.dropTypes}</small>
      </button>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        data-testid="file"
        aria-label={texts.dropShort}
        onChange={(event) => {
          model.upload([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = '';
        }}
      />
      {loaded && rows.length === 0 && !failure && (
        <div class="empty">
          <p>{texts.noDocuments}</p>
          <p class="muted">{texts.noDocumentsBody}</p>
        </div>
      )}
      <ul class="rows">
        {rows.map((row) => (
          <Row
            key={row.key}
            row={row}
            texts={texts}
            onDelete={() => setDeleting(row)}
            onDismiss={() => model.dismiss(row.key)}
            onRetry={() => void model.retry(row)}
          />
        ))}
      </ul>
      {failure && <FailureNote what={texts.documentsNotRead} problem={failure.problem} onAgain={failure.again} />}
      {nextCursor !== null && !failure && (
        <button type="button" class="button ghost" onClick={() => void model.loadMore()}>
          {texts.more}
        </button>
      )}
      {deleting && (
        <Dialog
          title={texts.deleteDocument}
          action={texts.delete}
          danger
          onConfirm={() => (deleting.documentId === null ? Promise.resolve() : model.remove(deleting.documentId))}
          onClose={() => setDeleting(null)}
        >
          <p>{texts.deleteDocumentBody(deleting.title)}</p>
        </Dialog>
      )}
    </section>
  );
}

interface RowProps {
  row: DocumentRow;
  texts: Texts;
  onDelete(): void;
  onDismiss(): void;
  onRetry(): void;
}

function Row({ row, texts, onDelete, onDismiss, onRetry }: RowProps) {
  const moving = row.phase === 'sending' || row.phase === 'queued' || row.phase === 'working';
  const percent = Math.round(row.progress * 100);
  const failed = row.phase === 'failed' || row.phase === 'refused';
  return (
    <li class={`row ${row.phase}`} data-phase={row.phase} data-document={row.documentId ?? undefined}>
      <span class="row-icon">
        <FileIcon />
      </span>
      <div class="row-main">
        <div class="row-title" title={row.title}>
          {row.title}
        </div>
        {moving ? (
          <>
            <progress class="bar" max={100} value={percent} aria-label={`${row.title}: ${stageOf(row, texts)}`} />
            <div class="row-note">
              <span data-testid="stage">{stageOf(row, texts)}</span>
              <span>{percent}%</span>
            </div>
          </>
        ) : failed || row.phase === 'quarantined' ? (
          <div class="row-note failure-note">
            <span>
              {row.phase === 'quarantined'
                ? texts.quarantined
                : row.error && (row.error.message || texts.errors[row.error.code])
                  ? wordsFor(texts, row.error)
                  : texts.failed}
            </span>
            {row.retryable && (
              <button type="button" class="link" onClick={onRetry}>
                {texts.tryAgain}
              </button>
            )}
          </div>
        ) : (
          <div class="row-note">
            <span class="ready-mark">
              <CheckIcon />
              {texts.ready}
            </span>
            <span>
              {[
                row.kind,
                row.pages !== null && row.pages > 0 ? texts.pages(row.pages) : null,
                formatBytes(row.size, texts.code),
                formatWhen(row.createdAt, texts.code),
              ]
                .filter(Boolean)
                .join(' · ')}
            </span>
            {row.duplicate && <span class="tag">{texts.duplicate}</span>}
          </div>
        )}
      </div>
      {row.documentId === null ? (
        <button
          type="button"
          class="icon-button"
          aria-label={`${row.phase === 'sending' ? texts.cancelUpload : texts.dismiss}: ${row.title}`}
          onClick={onDismiss}
        >
          <CloseIcon />
        </button>
      ) : (
        <button type="button" class="icon-button quiet" aria-label={`${texts.delete}: ${row.title}`} onClick={onDelete}>
          <TrashIcon />
        </button>
      )}
    </li>
  );
}

function stageOf(row: DocumentRow, texts: Texts): string {
  if (row.phase === 'sending') return texts.uploading;
  if (row.phase === 'queued') return texts.queued;
  const stage = row.stage === null ? texts.stageOther : (texts.stages[row.stage] ?? row.stage);
  return row.chunksTotal ? `${stage} · ${texts.passages(row.chunksDone, row.chunksTotal)}` : stage;
}
