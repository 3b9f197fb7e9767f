import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { isTurnOver, type TurnView } from '../../client/turn.ts';
import type { Message, Source } from '../../client/types.ts';
import type { ChatModel, ChatState, Outgoing } from '../model/chat.ts';
import { useStore } from '../store.ts';
import { Answer } from './answer.tsx';
import { useTexts } from './context.ts';
import { FailureNote } from './failure-note.tsx';
import { SendIcon, StopIcon } from './icons.tsx';

interface ChatProps {
  model: ChatModel;
  question: RefObject<HTMLTextAreaElement | null>;
  hasDocuments: boolean;
  openSource: Source | null;
  onSource(source: Source): void;
}

export function ChatPane({ model, question, hasDocuments, openSource, onSource }: ChatProps) {
  const texts = useTexts();
  const state = useStore(model.store);
  const running = [...state.turns].find(([, view]) => !isTurnOver(view))?.[0];
  const blank = state.messages.length === 0 && state.outgoing.length === 0 && !state.loading && !state.failure;
  return (
    <main class="pane chat" aria-label={texts.chat}>
      <Thread state={state}>
        {state.loading && <p class="muted center">{texts.loading}</p>}
        {blank && (
          <div class="welcome">
            <h1>{texts.welcome}</h1>
            <p class="muted">{hasDocuments ? texts.welcomeBody : texts.welcomeEmpty}</p>
          </div>
        )}
        <div class="messages" role="log" aria-live="polite" aria-busy={running !== undefined}>
          {arrange(state).map((item) => (
            <Entry
              key={item.key}
              item={item}
              openSource={openSource}
              onSource={onSource}
              onAgain={model.ask}
              onRate={model.rate}
            />
          ))}
          {state.outgoing.map((message) => (
            <OutgoingEntry
              key={message.clientMessageId}
              message={message}
              onAgain={() => model.resend(message.clientMessageId)}
            />
          ))}
        </div>
        {state.failure && (
          <FailureNote what={texts.conversationNotRead} problem={state.failure.problem} onAgain={state.failure.again} />
        )}
        {state.stopFailure && (
          <FailureNote what={texts.notStopped} problem={state.stopFailure.problem} onAgain={state.stopFailure.again} />
        )}
      </Thread>
      <LiveStatus running={running !== undefined} />
      <Composer model={model} question={question} running={running} />
    </main>
  );
}

/** Follows the end of the text as it grows, until the reader scrolls away from it. */
function Thread({ state, children }: { state: ChatState; children: preact.ComponentChildren }) {
  const ref = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const { openId, outgoing } = state;
  useEffect(() => {
    following.current = true;
  }, [openId, outgoing.length]);
  useLayoutEffect(() => {
    const element = ref.current;
    if (element && following.current) element.scrollTop = element.scrollHeight;
  }, [state]);
  return (
    <div
      class="thread"
      ref={ref}
      // Arrow keys scroll it.
      tabIndex={-1}
      onScroll={({ currentTarget }) => {
        following.current = currentTarget.scrollHeight - currentTarget.scrollTop - currentTarget.clientHeight < 80;
      }}
    >
      {children}
    </div>
  );
}

type Item =
  | { key: string; kind: 'question'; content: string }
  | { key: string; kind: 'answer'; message: Message }
  | { key: string; kind: 'turn'; view: TurnView; question: string };

/** Each question with its own answer or running turn below it, even where a second question came before the first answer. */
function arrange({ messages, turns }: ChatState): Item[] {
  const answers = new Map<string, Message>();
  for (const message of messages)
    if (message.role === 'assistant' && message.turn_id !== null) answers.set(message.turn_id, message);
  const placed = new Set<string>();
  const items: Item[] = [];
  for (const message of messages) {
    if (message.role === 'assistant') {
      if (!placed.has(message.id))
        items.push({ key: `answer-${message.turn_id ?? message.id}`, kind: 'answer', message });
      placed.add(message.id);
      continue;
    }
    items.push({ key: message.id, kind: 'question', content: message.content });
    if (message.turn_id === null) continue;
    const answer = answers.get(message.turn_id);
    const view = turns.get(message.turn_id);
    if (answer && !placed.has(answer.id)) {
      placed.add(answer.id);
      items.push({ key: `answer-${message.turn_id}`, kind: 'answer', message: answer });
    } else if (!answer && view) {
      items.push({ key: `answer-${message.turn_id}`, kind: 'turn', view, question: message.content });
    }
  }
  return items;
}

interface EntryProps {
  item: Item;
  openSource: Source | null;
  onSource(source: Source): void;
  onAgain(question: string): void;
  onRate(messageId: string, rating: 1 | -1): Promise<void>;
}

function Entry({ item, openSource, onSource, onAgain, onRate }: EntryProps) {
  const texts = useTexts();
  if (item.kind === 'question') {
    return (
      <article class="question">
        <h2 class="hidden">{texts.you}</h2>
        <div class="bubble">{item.content}</div>
      </article>
    );
  }
  if (item.kind === 'answer') {
    return (
      <article class="answer">
        <h2 class="hidden">{texts.assistant}</h2>
        <Answer
          text={item.message.content}
          sources={item.message.sources}
          streaming={false}
          openSource={openSource}
          onSource={onSource}
          rating={item.message.rating}
          onRate={(rating) => onRate(item.message.id, rating)}
        />
      </article>
    );
  }
  const { view } = item;
  const over = isTurnOver(view);
  return (
    <article class="answer" aria-busy={!over} data-turn={view.status}>
      <h2 class="hidden">{texts.assistant}</h2>
      {view.text === '' && !over && (
        <p class="waiting">
          <span class="pulse" />
          {view.status === 'queued' ? texts.queuedTurn : texts.thinking}
        </p>
      )}
      {view.text !== '' && (
        <Answer text={view.text} sources={view.sources} streaming={!over} openSource={openSource} onSource={onSource} />
      )}
      {view.status === 'cancelled' && <p class="muted stopped">{texts.stopped}</p>}
      {view.status === 'failed' && (
        <FailureNote what={texts.turnFailed} problem={view.error} onAgain={() => onAgain(item.question)} />
      )}
    </article>
  );
}

function OutgoingEntry({ message, onAgain }: { message: Outgoing; onAgain(): void }) {
  const texts = useTexts();
  return (
    <article class="question">
      <h2 class="hidden">{texts.you}</h2>
      <div class="bubble pending">{message.content}</div>
      {message.state === 'unsent' && <FailureNote what={texts.notSent} problem={message.error} onAgain={onAgain} />}
    </article>
  );
}

/** Says once that an answer has begun and once that it is complete, to those who cannot see it grow. */
function LiveStatus({ running }: { running: boolean }) {
  const texts = useTexts();
  const [ran, setRan] = useState(false);
  useEffect(() => {
    if (running) setRan(true);
  }, [running]);
  return (
    <div class="hidden" role="status">
      {running ? texts.answering : ran ? texts.answerDone : ''}
    </div>
  );
}

const MAX_ROWS_PX = 220;

function Composer({
  model,
  question,
  running,
}: {
  model: ChatModel;
  question: RefObject<HTMLTextAreaElement | null>;
  running: string | undefined;
}) {
  const texts = useTexts();
  const [draft, setDraft] = useState('');
  const empty = draft.trim() === '';
  useLayoutEffect(() => {
    const element = question.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${Math.min(MAX_ROWS_PX, element.scrollHeight)}px`;
  }, [draft, question]);
  const send = () => {
    if (empty) return;
    model.ask(draft.trim());
    setDraft('');
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="composer-box">
        <textarea
          ref={question}
          rows={1}
          aria-label={texts.question}
          placeholder={texts.questionPlaceholder}
          value={draft}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onKeyDown={(event) => {
            // While an input method composes, Enter chooses a word (229: browsers that end composing before the key).
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
            event.preventDefault();
            send();
          }}
        />
        {running !== undefined && (
          <button
            type="button"
            class="round stop"
            aria-label={texts.stop}
            title={texts.stop}
            onClick={() => void model.stop(running)}
          >
            <StopIcon />
          </button>
        )}
        <button type="submit" class="round send" aria-label={texts.send} title={texts.send} disabled={empty}>
          <SendIcon />
        </button>
      </div>
      <p class="composer-hint">{texts.composerHint}</p>
    </form>
  );
}
