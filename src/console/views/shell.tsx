/** The three panes, the header over them and the source panel beside; on a narrow screen one pane at a time. */
import { useEffect, useRef, useState } from 'preact/hooks';
import type { RealtimeState } from '../../client/realtime.ts';
import type { Source } from '../../client/types.ts';
import { useStore } from '../store.ts';
import type { Workspace } from '../workspace.ts';
import { ChatPane } from './chat.tsx';
import { useTexts } from './context.ts';
import { ConversationsPane } from './conversations.tsx';
import { DocumentsPane } from './documents.tsx';
import { isTyping, useAddress, useDrop } from './hooks.ts';
import { ChatIcon, FileIcon, ListIcon, Logo, SlidersIcon } from './icons.tsx';
import { SettingsDialog } from './settings.tsx';
import { SourcePanel } from './source-panel.tsx';

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
  const [setting, setSetting] = useState(false);
  const question = useRef<HTMLTextAreaElement>(null);
  const citedFrom = useRef<HTMLElement | null>(null);

  useAddress(openId, (id) => {
    setSource(null);
    chat.open(id);
  });

  const openSource = (next: Source) => {
    if (document.activeElement instanceof HTMLElement && !document.activeElement.closest('.source-panel'))
      citedFrom.current = document.activeElement;
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

  const moving = rows.filter(
    (row) => row.phase === 'sending' || row.phase === 'queued' || row.phase === 'working',
  ).length;
  const tabs: [View, string, () => preact.JSX.Element][] = [
    ['conversations', texts.conversations, ListIcon],
    ['chat', texts.chat, ChatIcon],
    ['documents', texts.documents, FileIcon],
  ];

  return (
    <div class="shell" data-view={view}>
      <header class="top">
        <div class="brand">
          <Logo />
          <span>DreamHub</span>
          <span class="tenant" title={email}>
            {tenant}
          </span>
        </div>
        <div class="top-tools">
          <Connection workspace={workspace} />
          <button
            type="button"
            class="button ghost"
            lang={texts.code === 'en' ? 'zh-CN' : 'en'}
            title={texts.switchLanguage}
            onClick={onLanguage}
          >
            {texts.otherLanguage}
          </button>
          <button
            type="button"
            class="icon-button"
            aria-label={texts.settings}
            title={texts.settings}
            onClick={() => setSetting(true)}
          >
            <SlidersIcon />
          </button>
          <button type="button" class="button ghost" onClick={onLogout}>
            {texts.logout}
          </button>
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
      <ChatPane
        model={chat}
        question={question}
        hasDocuments={!loaded || rows.length > 0}
        openSource={source}
        onSource={openSource}
      />
      <DocumentsPane model={documents} />
      <nav class="tabs" aria-label={texts.views}>
        {tabs.map(([id, label, TabIcon]) => (
          <button key={id} type="button" aria-current={view === id ? 'page' : undefined} onClick={() => setView(id)}>
            <TabIcon />
            <span>{label}</span>
            {id === 'documents' && moving > 0 && <span class="count">{moving}</span>}
          </button>
        ))}
      </nav>
      {source && <SourcePanel client={client} source={source} onClose={closeSource} />}
      {setting && <SettingsDialog client={client} onClose={() => setSetting(false)} />}
      {dragging && (
        <div class="drop-cover">
          <span>{texts.dropNow}</span>
        </div>
      )}
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
