/** The three panes, the header over them and the source panel beside; on a narrow screen one pane at a time. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Source } from '../../client/types.ts';
import { useStore } from '../store.ts';
import type { Workspace } from '../workspace.ts';
import { ChatPane } from './chat.tsx';
import { ConversationsPane } from './conversations.tsx';
import { useTexts } from './context.ts';
import { DocumentsPane } from './documents.tsx';
import { ChatIcon, FileIcon, ListIcon, Logo } from './icons.tsx';
import { SourcePanel } from './source-panel.tsx';
import type { RealtimeState } from '../../client/realtime.ts';

type View = 'conversations' | 'chat' | 'documents';

interface ShellProps {
  workspace: Workspace;
  tenant: string;
  email: string;
  onLanguage(): void;
  onLogout(): void;
}

export function Shell({ workspace, tenant, email, onLanguage, onLogout }: ShellProps) {
  const texts = useTexts();
  const { chat, documents, client } = workspace;
  const { openId } = useStore(chat.store);
  const { rows, loaded } = useStore(documents.store);
  const [view, setView] = useState<View>('chat');
  const [source, setSource] = useState<Source | null>(null);
  const [dragging, setDragging] = useState(false);
  const question = useRef<HTMLTextAreaElement>(null);
  const citedFrom = useRef<HTMLElement | null>(null);

  useAddress(openId, (id) => {
    setSource(null);
    chat.open(id);
  });

  const openSource = (next: Source) => {
    if (document.activeElement instanceof HTMLElement && !document.activeElement.closest('.source-panel')) citedFrom.current = document.activeElement;
    setSource(next);
  };
  const closeSource = () => {
    setSource(null);
    citedFrom.current?.focus();
    citedFrom.current = null;
  };

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.isComposing || document.querySelector('dialog[open]')) return;
      if (event.key === 'Escape' && source) {
        event.preventDefault();
        closeSource();
      } else if (event.key === '/' && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target)) {
        event.preventDefault();
        setView('chat');
        question.current?.focus();
      }
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  });

  useDrop(setDragging, (files) => {
    setView('documents');
    documents.upload(files);
  });

  const moving = rows.filter((row) => row.phase === 'sending' || row.phase === 'queued' || row.phase === 'working').length;
  const tabs: [View, string, () => preact.JSX.Element][] = [
    ['conversations', texts.conversations, ListIcon],
    ['chat', texts.chat, ChatIcon],
    ['documents', texts.documents, FileIcon],
  ];

  return (
    <div class="shell" data-view={view}>
      <header class="top">
        <div class="brand"><Logo /><span>DreamHub</span><span class="tenant" title={email}>{tenant}</span></div>
        <div class="top-tools">
          <Connection workspace={workspace} />
          <button type="button" class="button ghost" lang={texts.code === 'en' ? 'zh-CN' : 'en'} title={texts.switchLanguage} onClick={onLanguage}>{texts.otherLanguage}</button>
          <button type="button" class="button ghost" onClick={onLogout}>{texts.logout}</button>
        </div>
      </header>
      <ConversationsPane
        model={chat}
        onOpen={(id) => {
          setSource(null);
          chat.open(id);
          setView('chat');
          question.current?.focus();
        }}
      />
      <ChatPane model={chat} question={question} hasDocuments={!loaded || rows.length > 0} openSource={source} onSource={openSource} />
      <DocumentsPane model={documents} />
      <nav class="tabs" aria-label={texts.views}>
        {tabs.map(([id, label, TabIcon]) => (
          <button key={id} type="button" aria-current={view === id ? 'page' : undefined} onClick={() => setView(id)}>
            <TabIcon /><span>{label}</span>{id === 'documents' && moving > 0 && <span class="count">{moving}</span>}
          </button>
        ))}
      </nav>
      {source && <SourcePanel client={client} source={source} onClose={closeSource} />}
      {dragging && <div class="drop-cover"><span>{texts.dropNow}</span></div>}
    </div>
  );
}

function Connection({ workspace }: { workspace: Workspace }) {
  const texts = useTexts();
  const { realtime } = workspace;
  const [state, setState] = useState<RealtimeState>(realtime.state());
  useEffect(() => {
    setState(realtime.state());
    return realtime.onState(setState);
  }, [realtime]);
  return (
    <button
      type="button"
      class={`connection ${state}`}
      data-state={state}
      disabled={state !== 'waiting'}
      title={state === 'waiting' ? texts.reconnectNow : texts.connection[state]}
      onClick={() => realtime.nudge()}
    >
      <span class="dot" aria-hidden="true" />
      <span role="status">{texts.connection[state]}</span>
    </button>
  );
}

const ADDRESS = /^#\/c\/([0-9a-f-]{36})$/i;

/** The open conversation stands in the address, for reloads, bookmarks and the back button. */
function useAddress(openId: string | null, open: (id: string | null) => void): void {
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

function useDrop(setDragging: (dragging: boolean) => void, upload: (files: File[]) => void): void {
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

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}
