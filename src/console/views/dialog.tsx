/** Questions that need an answer before anything else: the browser's own modal dialog, which keeps focus and Esc. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { describe } from '../model/problem.ts';
import { wordsFor } from '../texts.ts';
import { useTexts } from './context.ts';

interface DialogProps {
  title: string;
  action: string;
  danger?: boolean;
  children: ComponentChildren;
  /** Runs the action; the dialog closes when it succeeds and shows why when it does not. */
  onConfirm(): Promise<void>;
  onClose(): void;
}

export function Dialog({ title, action, danger = false, children, onConfirm, onClose }: DialogProps) {
  const texts = useTexts();
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    ref.current?.showModal();
  }, []);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await onConfirm();
      onClose();
    } catch (error) {
      setFailure(wordsFor(texts, describe(error)));
      setBusy(false);
    }
  };
  return (
    <dialog ref={ref} aria-labelledby={heading} onClose={onClose}>
      <form onSubmit={submit}>
        <h2 id={heading}>{title}</h2>
        {children}
        {failure && (
          <p class="failure" role="alert">
            {failure}
          </p>
        )}
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onClose}>
            {texts.cancel}
          </button>
          <button type="submit" class={danger ? 'button danger' : 'button primary'} disabled={busy}>
            {action}
          </button>
        </div>
      </form>
    </dialog>
  );
}

export function RenameDialog({
  value,
  onRename,
  onClose,
}: {
  value: string;
  onRename(title: string): Promise<void>;
  onClose(): void;
}) {
  const texts = useTexts();
  const [title, setTitle] = useState(value);
  return (
    <Dialog
      title={texts.renameTitle}
      action={texts.save}
      onConfirm={() => onRename(title.trim() || value)}
      onClose={onClose}
    >
      <label class="field">
        <span>{texts.title}</span>
        <input
          value={title}
          maxLength={200}
          onInput={(event) => setTitle(event.currentTarget.value)}
          onFocus={(event) => event.currentTarget.select()}
          autoFocus
        />
      </label>
    </Dialog>
  );
}
