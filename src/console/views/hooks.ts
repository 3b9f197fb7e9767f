import { useEffect, useRef } from 'preact/hooks';

const ADDRESS = /^#\/c\/([0-9a-f-]{36})$/i;

/** The open conversation stands in the address, for reloads, bookmarks and the back button. */
export function useAddress(openId: string | null, open: (id: string | null) => void): void {
  const opener = useRef(open);
  opener.current = open;
  useEffect(() => {
    const read = () => opener.current(ADDRESS.exec(location.hash)?.[1] ?? null);
    if (location.hash !== '') read();
    window.addEventListener('popstate', read);
    return () => window.removeEventListener('popstate', read);
  }, []);
  const first = useRef(true);
  useEffect(() => {
    // The first value is from before the address was read.
    if (first.current) {
      first.current = false;
      return;
    }
    const hash = openId === null ? '' : `#/c/${openId}`;
    if (location.hash !== hash) history.pushState(null, '', hash || location.pathname);
  }, [openId]);
}

export function useDrop(setDragging: (dragging: boolean) => void, upload: (files: File[]) => void): void {
  const uploader = useRef(upload);
  uploader.current = upload;
  useEffect(() => {
    let depth = 0;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth += 1;
      setDragging(true);
    };
    const leave = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth = Math.max(0, depth - 1);
      if (depth === 0) setDragging(false);
    };
    const over = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      setDragging(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length > 0) uploader.current(files);
    };
    window.addEventListener('dragenter', enter);
    window.addEventListener('dragleave', leave);
    window.addEventListener('dragover', over);
    window.addEventListener('drop', drop);
    return () => {
      window.removeEventListener('dragenter', enter);
      window.removeEventListener('dragleave', leave);
      window.removeEventListener('dragover', over);
      window.removeEventListener('drop', drop);
    };
  }, [setDragging]);
}

export function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
