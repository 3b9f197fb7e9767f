/**
 * What travels through Redis Streams. Payloads name rows and carry no content: PostgreSQL has the truth, and an entry
 * that arrives twice or late is checked against it. `v` grows when a field changes its meaning.
 */
export const PAYLOAD_VERSION = 1;

/** Chat never waits behind ingestion: each lane has its own streams, ready sets and slots. */
export const LANES = ['ingest', 'chat'] as const;
export type Lane = (typeof LANES)[number];

export interface Job {
  v: number;
  lane: Lane;
  tenantId: string;
  /** In whose name the work is done. */
  userId: string;
  /** The task's or the turn's id. */
  id: string;
  /** W3C trace context of the request that caused the work. */
  traceparent: string;
}

/** A job as handed out by a stream, with what is needed to acknowledge it. */
export interface Delivery {
  job: Job;
  /** Redis stream entry id. */
  entryId: string;
  /** How often this entry was delivered, this time included. */
  deliveries: number;
  /** The tenant's share of the workers when the job was handed out; absent: 1. */
  weight?: number;
}
