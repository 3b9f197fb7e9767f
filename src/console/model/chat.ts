/**
 * Conversations, and the one that is open. Its history comes from REST; a turn that is still running is joined by
 * subscribing to it from its start, so a reload or a second window shows the same stream. A question of ours is shown at
 * once (sending), belongs to a turn once it is acknowledged, or can be sent again under the same id (unsent).
 */
import type { Client } from '../../client/client.ts';
import type { Realtime } from '../../client/realtime.ts';
import type { Subscription, TopicHandler } from '../../client/topics.ts';
import { applyTurnEvent, applyTurnReset, isTurnOver, newTurn, type TurnView, viewOfTurn } from '../../client/turn.ts';
import type { Conversation, Message } from '../../client/types.ts';
import { createStore, type Store } from '../store.ts';
import { describe, ensureGone, type Failure, type Problem } from './problem.ts';

export interface Outgoing {
  clientMessageId: string;
  content: string;
  state: 'sending' | 'unsent';
  error: Problem | null;
}

export interface ChatState {
  conversations: Conversation[];
  nextCursor: string | null;
  listed: boolean;
  /** The list could not be read, or not on. */
  listFailure: Failure | null;
  /** `null`: a conversation that begins with the next question. */
  openId: string | null;
  loading: boolean;
  /** The open conversation could not be read, or what became of a question in it. */
  failure: Failure | null;
  /** The running answer could not be stopped. */
  stopFailure: Failure | null;
  messages: Message[];
  /** Turns of the open conversation that have no stored answer (yet), by turn id. */
  turns: ReadonlyMap<string, TurnView>;
  outgoing: Outgoing[];
}

export interface ChatModel {
  store: Store<ChatState>;
  open(conversationId: string | null): void;
  ask(question: string): void;
  resend(clientMessageId: string): void;
  /** Never rejects: what fails is in the store. */
  stop(turnId: string): Promise<void>;
  /** Rejects with what the server says; the rating is shown only when it is kept. */
  rate(messageId: string, rating: 1 | -1): Promise<void>;
  /** Rejects with what the server says. */
  rename(id: string, title: string): Promise<void>;
  /** Rejects with what the server says; one that is gone already is removed. */
  remove(id: string): Promise<void>;
  /** Never rejects: what fails is in the store. */
  loadMore(): Promise<void>;
  dispose(): void;
}

export interface ChatOptions {
  client: Client;
  realtime: Realtime;
  uuid(): string;
  /** Runs `flush` soon, once for many calls: before the next frame is painted. */
  soon(flush: () => void): void;
}

const PAGE = 50;
const MESSAGE_PAGE = 200;
/** Unanswered questions further back than this are history, not work in progress. */
const RECENT_TURNS = 5;

const closedConversation = {
  loading: false,
  failure: null,
  stopFailure: null,
  messages: [] as Message[],
  turns: new Map<string, TurnView>(),
  outgoing: [] as Outgoing[],
};

export function createChatModel({ client, realtime, uuid, soon }: ChatOptions): ChatModel {
  const store = createStore<ChatState>({
    conversations: [],
    nextCursor: null,
    listed: false,
    listFailure: null,
    openId: null,
    ...closedConversation,
  });
  const live = new Map<string, Subscription>();
  /** Folded as events come; shown at the next frame. */
  const views = new Map<string, TurnView>();
  /** Grows with each conversation that is opened: an answer for an earlier one is not for us. */
  let visit = 0;
  let queue: Promise<void> = Promise.resolve();
  let flushing = false;
  let disposed = false;

  const change = (part: Partial<ChatState>) => store.update((state) => ({ ...state, ...part }));
  const current = (of: number) => of === visit && !disposed;

  function flush(): void {
    flushing = false;
    change({ turns: new Map(views) });
  }

  function show(turnId: string, view: TurnView): void {
    views.set(turnId, view);
    if (flushing) return;
    flushing = true;
    soon(() => {
      if (flushing) flush();
    });
  }

  function handlerOf(turnId: string, during: number): TopicHandler<`turn:${string}`> {
    const next = (view: TurnView) => {
      if (!current(during)) return;
      show(turnId, view);
      if (isTurnOver(view)) over(turnId, view);
    };
    return {
      event: (event) => next(applyTurnEvent(views.get(turnId) ?? newTurn, event)),
      reset: (frame) => next(applyTurnReset(views.get(turnId) ?? newTurn, frame)),
      // It cannot be followed: its state as it is now.
      failed: () => void attempt(during, () => look(turnId, during)),
    };
  }

  function over(turnId: string, view: TurnView): void {
    live.get(turnId)?.unsubscribe();
    live.delete(turnId);
    if (view.status === 'completed') {
      const answer: Message = {
        id: view.messageId ?? `turn-${turnId}`,
        role: 'assistant',
        content: view.text,
        sources: view.sources,
        turn_id: turnId,
        parent_id: null,
        rating: null,
        created_at: new Date().toISOString(),
      };
      views.delete(turnId);
      store.update((state) => ({
        ...state,
        messages: [...state.messages.filter((message) => message.id !== answer.id), answer],
        turns: new Map(views),
      }));
    }
    store.update((state) => ({
      ...state,
      stopFailure: null,
      conversations: touch(state.conversations, state.openId),
    }));
  }

  /** Reads something of the open conversation; where that fails, it says so there and offers to try again. */
  async function attempt(during: number, read: () => Promise<unknown>): Promise<void> {
    try {
      await read();
      if (current(during)) change({ failure: null });
    } catch (error) {
      if (!current(during)) return;
      const again = () => {
        change({ failure: null, loading: store.get().messages.length === 0 });
        void attempt(during, read);
      };
      change({ loading: false, failure: { problem: describe(error), again } });
    }
  }

  /** The state of a turn as the server has it, for those that cannot be followed. */
  async function look(turnId: string, during: number): Promise<TurnView | undefined> {
    const turn = await client.turns.get(turnId);
    if (!current(during)) return undefined;
    const view: TurnView = { ...newTurn, ...viewOfTurn(turn) };
    show(turnId, view);
    return view;
  }

  function follow(turnId: string, during: number): void {
    if (live.has(turnId)) return;
    live.set(turnId, realtime.subscribe(`turn:${turnId}`, handlerOf(turnId, during)));
  }

  function leave(): void {
    visit += 1;
    flushing = false;
    for (const subscription of live.values()) subscription.unsubscribe();
    live.clear();
    views.clear();
  }

  async function readMessages(conversationId: string, during: number): Promise<void> {
    const messages = await allMessages(client, conversationId);
    if (!current(during)) return;
    change({ messages, loading: false });
    const answered = new Set(
      messages.filter((message) => message.role === 'assistant').map((message) => message.turn_id),
    );
    const unanswered = messages
      .filter((message) => message.role === 'user' && message.turn_id !== null && !answered.has(message.turn_id))
      .slice(-RECENT_TURNS);
    for (const id of views.keys()) if (answered.has(id)) views.delete(id);
    flush();
    for (const { turn_id } of unanswered) {
      if (turn_id === null || live.has(turn_id)) continue;
      const view = await look(turn_id, during);
      if (!current(during)) return;
      if (view && !isTurnOver(view)) follow(turn_id, during);
    }
  }

  async function readConversations(): Promise<void> {
    try {
      const page = await client.conversations.list({ limit: PAGE });
      if (disposed) return;
      store.update((state) => {
        const listed = new Set(page.items.map(({ id }) => id));
        const older =
          state.nextCursor === null ? [] : state.conversations.filter(({ id }) => !listed.has(id)).slice(PAGE);
        return {
          ...state,
          conversations: [...page.items, ...older],
          nextCursor: page.next_cursor,
          listed: true,
          listFailure: null,
        };
      });
    } catch (error) {
      if (!disposed) change({ listFailure: { problem: describe(error), again: () => void readConversations() } });
    }
  }

  async function readMoreConversations(): Promise<void> {
    const cursor = store.get().nextCursor;
    if (cursor === null) return;
    try {
      const page = await client.conversations.list({ limit: PAGE, cursor });
      // Asked for twice, or the list was read anew meanwhile.
      if (disposed || store.get().nextCursor !== cursor) return;
      store.update((state) => ({
        ...state,
        conversations: [...state.conversations, ...page.items],
        nextCursor: page.next_cursor,
        listFailure: null,
      }));
    } catch (error) {
      if (!disposed) change({ listFailure: { problem: describe(error), again: () => void readMoreConversations() } });
    }
  }

  async function stop(turnId: string): Promise<void> {
    const during = visit;
    change({ stopFailure: null });
    try {
      if (realtime.state() === 'open') await realtime.cancelTurn(turnId);
      else await client.turns.cancel(turnId);
    } catch (error) {
      const isOver = !live.has(turnId) && !views.has(turnId);
      if (!current(during) || isOver) return;
      change({ stopFailure: { problem: describe(error), again: () => void stop(turnId) } });
    }
  }

  /** One after the other: the first question makes the conversation that the second belongs to. */
  function enqueue(message: Outgoing): void {
    const during = visit;
    queue = queue.then(() => (current(during) ? send(message, during) : undefined));
  }

  async function send(message: Outgoing, during: number): Promise<void> {
    const { openId } = store.get();
    try {
      // The handler needs the turn's name, which is in the acknowledgement; its events come after that.
      let handler: TopicHandler<`turn:${string}`> | undefined;
      const relay: TopicHandler<`turn:${string}`> = {
        event: (event) => {
          handler ??= handlerOf(event.topic.slice('turn:'.length), during);
          handler.event(event);
        },
        reset: (frame) => {
          handler ??= handlerOf(frame.topic.slice('turn:'.length), during);
          handler.reset?.(frame);
        },
      };
      const { turn_id, message_id, conversation_id, subscription } = await realtime.sendChat(
        {
          content: message.content,
          client_message_id: message.clientMessageId,
          ...(openId !== null && { conversation_id: openId }),
        },
        relay,
      );
      if (!current(during)) return subscription?.unsubscribe();
      const answeredAlready = store
        .get()
        .messages.some(({ role, turn_id: of }) => role === 'assistant' && of === turn_id);
      const view = views.get(turn_id) ?? newTurn;
      if (subscription && !answeredAlready && !isTurnOver(view)) live.set(turn_id, subscription);
      else subscription?.unsubscribe();
      if (!answeredAlready) show(turn_id, view);
      const question: Message = {
        id: message_id,
        role: 'user',
        content: message.content,
        sources: [],
        turn_id,
        parent_id: null,
        rating: null,
        created_at: new Date().toISOString(),
      };
      store.update((state) => ({
        ...state,
        openId: conversation_id,
        outgoing: state.outgoing.filter((entry) => entry.clientMessageId !== message.clientMessageId),
        messages: insertQuestion(state.messages, question),
      }));
      if (openId === null) void readConversations();
    } catch (error) {
      if (!current(during)) return;
      setOutgoing(message.clientMessageId, { state: 'unsent', error: describe(error) });
    }
  }

  function setOutgoing(clientMessageId: string, part: Partial<Outgoing>): void {
    store.update((state) => ({
      ...state,
      outgoing: state.outgoing.map((entry) =>
        entry.clientMessageId === clientMessageId ? { ...entry, ...part } : entry,
      ),
    }));
  }

  const hints = realtime.subscribe('user', {
    event: (event) => {
      if (event.type !== 'conversation.updated') return;
      const { conversation_id, title } = event.data;
      const known = store.get().conversations.some(({ id }) => id === conversation_id);
      if (!known) void readConversations();
      else {
        store.update((state) => ({
          ...state,
          conversations: touch(state.conversations, conversation_id, (entry) => ({
            ...entry,
            title: title ?? entry.title,
          })),
        }));
      }
      // Somebody else's window may have asked here; our own turns are followed already.
      const { openId, outgoing } = store.get();
      if (conversation_id === openId && live.size === 0 && outgoing.length === 0) {
        const during = visit;
        void attempt(during, () => readMessages(conversation_id, during));
      }
    },
    missed: () => void readConversations(),
  });
  void readConversations();

  return {
    store,
    open(conversationId) {
      if (conversationId === store.get().openId && conversationId !== null) return;
      leave();
      const during = visit;
      change({ ...closedConversation, openId: conversationId, loading: conversationId !== null });
      if (conversationId === null) return;
      void attempt(during, () => readMessages(conversationId, during));
    },
    ask(question) {
      const message: Outgoing = { clientMessageId: uuid(), content: question, state: 'sending', error: null };
      store.update((state) => ({ ...state, outgoing: [...state.outgoing, message] }));
      enqueue(message);
    },
    resend(clientMessageId) {
      const message = store.get().outgoing.find((entry) => entry.clientMessageId === clientMessageId);
      if (!message) return;
      setOutgoing(clientMessageId, { state: 'sending', error: null });
      enqueue(message);
    },
    stop,
    async rate(messageId, rating) {
      await client.messages.rate(messageId, rating);
      store.update((state) => ({
        ...state,
        messages: state.messages.map((message) => (message.id === messageId ? { ...message, rating } : message)),
      }));
    },
    async rename(id, title) {
      const renamed = await client.conversations.rename(id, title);
      store.update((state) => ({
        ...state,
        conversations: state.conversations.map((entry) =>
          entry.id === id ? { ...entry, title: renamed.title ?? title } : entry,
        ),
      }));
    },
    async remove(id) {
      await ensureGone(client.conversations.remove(id));
      store.update((state) => ({ ...state, conversations: state.conversations.filter((entry) => entry.id !== id) }));
      if (store.get().openId === id) {
        leave();
        change({ ...closedConversation, openId: null });
      }
    },
    loadMore: readMoreConversations,
    dispose() {
      disposed = true;
      leave();
      hints.unsubscribe();
    },
  };
}

async function allMessages(client: Client, conversationId: string): Promise<Message[]> {
  const messages: Message[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: Message[]; next_cursor: string | null } = await client.conversations.messages(conversationId, {
      limit: MESSAGE_PAGE,
      ...(cursor !== null && { cursor }),
    });
    messages.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return messages.sort((a, b) => a.created_at.localeCompare(b.created_at) || a.id.localeCompare(b.id));
}

/** Before its answer, should that have been quicker than the acknowledgement. */
function insertQuestion(messages: readonly Message[], question: Message): Message[] {
  if (messages.some(({ id }) => id === question.id)) return [...messages];
  const answer = messages.findIndex(({ turn_id, role }) => role === 'assistant' && turn_id === question.turn_id);
  return answer < 0 ? [...messages, question] : [...messages.slice(0, answer), question, ...messages.slice(answer)];
}

/** The conversation moves to the top: something happened in it. */
function touch(
  conversations: readonly Conversation[],
  id: string | null,
  change: (conversation: Conversation) => Conversation = (conversation) => conversation,
): Conversation[] {
  const found = conversations.find((entry) => entry.id === id);
  if (!found) return [...conversations];
  const moved = { ...change(found), updated_at: new Date().toISOString() };
  return [moved, ...conversations.filter((entry) => entry.id !== id)];
}
