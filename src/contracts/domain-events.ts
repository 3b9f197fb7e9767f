/**
 * What happened in a tenant, as other systems learn of it: in the tenant's stream in Redis and by webhooks. Each event
 * arrives at least once, those of a tenant in order; `id` tells one that comes twice. They name things and carry no
 * content: who may read it asks for it.
 */
import type { Usage } from './events.ts';
import type { Failure, Visibility } from './resources.ts';

/** Grows when a field changes its meaning; new fields may appear without it. */
export const DOMAIN_EVENT_VERSION = 1;

interface DocumentEvent {
  document_id: string;
  task_id: string;
  title: string;
}

interface TurnEvent {
  turn_id: string;
  conversation_id: string;
  user_id: string;
}

export interface DomainEventData {
  'document.uploaded': DocumentEvent & { visibility: Visibility; size: number };
  'document.ready': DocumentEvent & { pages: number | null; chunks: number };
  /** Also when its task was cancelled: `error.code` is then `cancelled`. */
  'document.failed': DocumentEvent & { error: Failure };
  /** An upload in which malware was found: a notice, without content. */
  'document.quarantined': { document_id: string; title: string; error: Failure };
  'document.deleted': { document_id: string; title: string };
  /** Attempts ran out; `document.failed` comes as well. */
  'task.dead': { task_id: string; document_id: string; attempt: number; error: Failure };
  'turn.completed': TurnEvent & { message_id: string; usage: Usage };
  'turn.failed': TurnEvent & { error: Failure };
  'turn.cancelled': TurnEvent;
}

export type DomainEventType = keyof DomainEventData;

export const DOMAIN_EVENT_TYPES = [
  'document.uploaded',
  'document.ready',
  'document.failed',
  'document.quarantined',
  'document.deleted',
  'task.dead',
  'turn.completed',
  'turn.failed',
  'turn.cancelled',
] as const satisfies readonly DomainEventType[];

/** An event as it is published. */
export interface DomainEvent<T extends DomainEventType = DomainEventType> {
  v: number;
  id: string;
  type: T;
  tenant_id: string;
  /** RFC 3339, UTC. */
  occurred_at: string;
  data: DomainEventData[T];
}
