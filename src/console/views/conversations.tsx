import { useState } from 'preact/hooks';
import type { Conversation } from '../../client/types.ts';
import { formatWhen } from '../format.ts';
import type { ChatModel } from '../model/chat.ts';
import { useStore } from '../store.ts';
import { useTexts } from './context.ts';
import { Dialog, RenameDialog } from './dialog.tsx';
import { FailureNote } from './failure-note.tsx';
import { PencilIcon, PlusIcon, TrashIcon } from './icons.tsx';

export function ConversationsPane({ model, onOpen }: { model: ChatModel; onOpen(id: string | null): void }) {
  const texts = useTexts();
  const { conversations, openId, nextCursor, listed, listFailure } = useStore(model.store);
  const [renaming, setRenaming] = useState<Conversation | null>(null);
  const [deleting, setDeleting] = useState<Conversation | null>(null);
  const titleOf = (conversation: Conversation) => conversation.title || texts.untitled;
  return (
    <nav class="pane conversations" aria-label={texts.conversations}>
      <button type="button" class="button new" onClick={() => onOpen(null)}>
        <PlusIcon />
        {texts.newConversation}
      </button>
      {listed && conversations.length === 0 && <p class="muted hint">{texts.noConversations}</p>}
      <ul class="conversation-list">
        {conversations.map((conversation) => (
          <li key={conversation.id} class={conversation.id === openId ? 'conversation current' : 'conversation'}>
            <button
              type="button"
              class="conversation-open"
              aria-current={conversation.id === openId ? 'true' : undefined}
              onClick={() => onOpen(conversation.id)}
            >
              <span class="conversation-title">{titleOf(conversation)}</span>
              <span class="conversation-when">{formatWhen(conversation.updated_at, texts.code)}</span>
            </button>
            <span class="conversation-tools">
              <button
                type="button"
                class="icon-button quiet"
                aria-label={`${texts.rename}: ${titleOf(conversation)}`}
                onClick={() => setRenaming(conversation)}
              >
                <PencilIcon />
              </button>
              <button
                type="button"
                class="icon-button quiet"
                aria-label={`${texts.delete}: ${titleOf(conversation)}`}
                onClick={() => setDeleting(conversation)}
              >
                <TrashIcon />
              </button>
            </span>
          </li>
        ))}
      </ul>
      {listFailure && (
        <FailureNote what={texts.listNotRead} problem={listFailure.problem} onAgain={listFailure.again} />
      )}
      {nextCursor !== null && !listFailure && (
        <button type="button" class="button ghost" onClick={() => void model.loadMore()}>
          {texts.more}
        </button>
      )}
      {renaming && (
        <RenameDialog
          value={titleOf(renaming)}
          onRename={(title) => model.rename(renaming.id, title)}
          onClose={() => setRenaming(null)}
        />
      )}
      {deleting && (
        <Dialog
          title={texts.deleteConversation}
          action={texts.delete}
          danger
          onConfirm={() => model.remove(deleting.id)}
          onClose={() => setDeleting(null)}
        >
          <p>{texts.deleteConversationBody(titleOf(deleting))}</p>
        </Dialog>
      )}
    </nav>
  );
}
