/** The forms in which a question is answered over HTTP. */
import { status } from 'elysia';
import type { Principal } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';
import { assertAnswered } from '../services/asking.ts';
import type { ChatAnswer, ChatBody, NewMessage } from './models/chat.ts';
import type { ChatMessage, ChatPort } from './ports.ts';

export interface TopicStream {
  topic: string;
  after?: number;
  epoch?: string;
  signal: AbortSignal;
  /** Who reads: no longer than that session lasts. */
  principal: Principal;
}

/** Events of a topic as Server-Sent Events; `routes/turn-events.ts` with the hub of this node. */
export type StreamTopic = (stream: TopicStream) => Promise<Response>;

export interface MessageRequest {
  chat: ChatPort;
  streamTopic: StreamTopic;
  conversationId: string;
  message: NewMessage;
  wait: boolean;
  request: Request;
  principal: Principal;
}

function messageOf(
  conversationId: string | undefined,
  { content, client_message_id, model, filter, if_busy }: NewMessage,
): ChatMessage {
  return {
    content,
    ...(conversationId !== undefined && { conversationId }),
    ...(client_message_id !== undefined && { clientMessageId: client_message_id }),
    ...(model !== undefined && { model }),
    ...(filter !== undefined && { filter }),
    ...(if_busy !== undefined && { ifBusy: if_busy }),
  };
}

function wantsEvents(request: Request): boolean {
  return (request.headers.get('accept') ?? '').includes('text/event-stream');
}

async function eventsAnswer({
  chat,
  streamTopic,
  conversationId,
  message,
  request,
  principal,
}: MessageRequest): Promise<Response> {
  const { turn_id } = await chat.send(messageOf(conversationId, message));
  return streamTopic({ topic: `turn:${turn_id}`, signal: request.signal, principal });
}

async function resourceAnswer({ chat, conversationId, message, wait, request }: MessageRequest) {
  const receipt = await chat.send(messageOf(conversationId, message));
  return wait ? status(200, await chat.finished(receipt.turn_id, request.signal)) : status(202, receipt);
}

/** By what the caller asked for: the finished turn, its events as they come, or a receipt to follow it by. */
export function messageAnswer(asked: MessageRequest) {
  return !asked.wait && wantsEvents(asked.request) ? eventsAnswer(asked) : resourceAnswer(asked);
}

/** `POST /chat`: the whole answer in one call. */
export async function finishedReply(chat: ChatPort, body: ChatBody, signal: AbortSignal): Promise<ChatAnswer> {
  const { message: content, conversation_id, model_name: model, if_busy } = body;
  const message = messageOf(conversation_id, {
    content,
    ...(model !== undefined && { model }),
    ...(if_busy !== undefined && { if_busy }),
  });
  const { turn_id } = await chat.send(message);
  const turn = await chat.finished(turn_id, signal);
  assertAnswered(turn);
  return { conversation_id: turn.conversation_id, turn_id, reply: turn.text, sources: turn.sources };
}

/** `Last-Event-ID: EPOCH:SEQ`, which a browser sends by itself when it reconnects; `undefined` where there is none. */
export function resumePointOf(request: Request): { epoch: string; after: number } | undefined {
  const header = request.headers.get('last-event-id');
  if (header === null || header === '') return undefined;
  const [, epoch, seq] = /^(.+):(\d{1,15})$/.exec(header) ?? [];
  if (epoch === undefined || seq === undefined) throw new AppError('malformed', 'Last-Event-ID must be EPOCH:SEQ.');
  return { epoch, after: Number(seq) };
}
