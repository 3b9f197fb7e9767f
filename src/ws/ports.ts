/** What a socket needs of the rest: the services implement these. All are called in the caller's scope. */
import type { IfBusy, Principal, SearchFilter, TurnReceipt } from '../contracts/index.ts';

export interface ChatRequest {
  /** Absent: a new conversation. */
  conversationId?: string | undefined;
  content: string;
  /** Sending the same id again returns the same turn. */
  clientMessageId?: string | undefined;
  model?: string | undefined;
  filter?: SearchFilter | undefined;
  /** Default `queue`. */
  ifBusy?: IfBusy | undefined;
}

export interface ChatPort {
  /** Resolves once message and turn are committed. */
  send(request: ChatRequest): Promise<TurnReceipt>;
  /** Throws `not_found` for a turn that is not the caller's; a turn that has ended stays as it is. */
  cancel(turnId: string): Promise<unknown>;
}

export interface TicketPort {
  /** The principal, the first time only. */
  redeem(ticket: string): Promise<Principal | null>;
}

/** Who is calling, called in no scope. Null: not valid, or no longer. */
export interface PrincipalPort {
  /** An access token or an API key. */
  prove(bearer: string): Promise<Principal | null>;
  /** One that was proven before, as it is now; for whoever may have missed the order to close, too. */
  confirm(principal: Principal): Promise<Principal | null>;
}
