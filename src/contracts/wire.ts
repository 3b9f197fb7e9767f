/** Frames of the WebSocket protocol `dreamhub.v1` that are not events. One frame is one map with a `type`. */
import type { EventFrame } from './events.ts';

export const SUBPROTOCOLS = ['dreamhub.v1.msgpack', 'dreamhub.v1.json'] as const;
export type Subprotocol = (typeof SUBPROTOCOLS)[number];

/**
 * What becomes of a message while another turn of its conversation is unfinished: it waits its turn; it stops what is
 * unfinished and runs then; or it is refused with `conflict`.
 */
export const IF_BUSY = ['queue', 'interrupt', 'reject'] as const;
export type IfBusy = (typeof IF_BUSY)[number];

/** Metadata filter of search and chat; see `SearchFilter` in `search.ts`. */
export interface ChatSendFrame {
  type: 'chat.send';
  id?: string | number;
  conversation_id?: string;
  content: string;
  client_message_id: string;
  model?: string;
  filter?: Record<string, unknown>;
  /** Default `queue`. */
  if_busy?: IfBusy;
}

export type ClientFrame =
  | { type: 'subscribe'; id?: string | number; topic: string; after?: number; epoch?: string }
  | { type: 'unsubscribe'; id?: string | number; topic: string }
  | ChatSendFrame
  | { type: 'chat.cancel'; id?: string | number; turn_id: string }
  | { type: 'auth.refresh'; id?: string | number; token: string }
  | { type: 'ping'; id?: string | number };

export interface HelloFrame {
  type: 'hello';
  connection_id: string;
  user_id: string;
  tenant_id: string;
  heartbeat_ms: number;
  max_frame_bytes: number;
}

export interface AckFrame {
  type: 'ack';
  id?: string | number;
  turn_id?: string;
  message_id?: string;
  conversation_id?: string;
}

export interface ErrorFrame {
  type: 'error';
  id?: string | number;
  code: string;
  message: string;
  retry_after_ms?: number;
}

/** The whole state of a topic, sent where its events cannot be continued; the next event has `seq + 1`. */
export interface ResetFrame {
  type: 'reset';
  topic: string;
  epoch: string;
  seq: number;
  snapshot: Record<string, unknown>;
}

export type ServerFrame =
  | HelloFrame
  | AckFrame
  | ErrorFrame
  | ResetFrame
  | { type: 'pong'; id?: string | number }
  | EventFrame;

/** Close codes of our own; the range 4400-4499 says by its value what the client should do. */
export const CLOSE_CODES = {
  going_away: 1001,
  malformed: 4400,
  session_ended: 4401,
  too_slow: 4408,
  frame_too_large: 4409,
  too_many: 4429,
} as const;
