/**
 * Every Redis key and channel is built here. The hash tag `{pN}` is the tenant's partition: all that one script touches
 * lies in one cluster slot, and sharded pub/sub is per partition.
 */
import { createHash } from 'node:crypto';
import type { Lane } from '../contracts/index.ts';

export interface Keys {
  readonly partitions: number;
  partitionOf(tenantId: string): number;
  /** The tenant's stream of handed-out jobs. */
  stream(lane: Lane, tenantId: string): string;
  /** Sorted set: streams with undelivered entries, by their tenants' virtual time. */
  ready(lane: Lane, partition: number): string;
  /** Streams that exist: with entries that are undelivered or unacknowledged. */
  active(lane: Lane, partition: number): string;
  /** Sorted set: streams by the virtual time at which they left the ready set, so that leaving does not pay off. */
  fairness(lane: Lane, partition: number): string;
  /** Pub/sub channel: a tenant of the partition became ready. */
  doorbell(lane: Lane, partition: number): string;
  /** Stream of a topic's events. */
  log(tenantId: string, topic: string): string;
  /** Hash: epoch, seq, attempt, owner of a topic's log. */
  logMeta(tenantId: string, topic: string): string;
  /** Stream of what happened in the tenant, for consumers outside DreamHub. */
  domainEvents(tenantId: string): string;
  /** Pattern of all keys that are one tenant's alone. */
  everyOf(tenantId: string): string;
  /** Pub/sub channel: batches of events of the partition's topics. */
  events(partition: number): string;
  /** Pub/sub channel: cancellations and session ends of the partition's tenants, for workers and hubs. */
  control(partition: number): string;
  /** A single-use WebSocket ticket. It is read before the tenant is known. */
  ticket(hash: string): string;
  /** A revoked session. */
  revoked(sessionId: string): string;
  /** A user whose role has changed a moment ago. */
  changed(userId: string): string;
  /** Prefix of the counters of login attempts. They are counted before any tenant is known. */
  loginAttempts(): string;
  /** Heartbeats of worker processes. */
  workers(): string;
  /** The number of partitions that all processes use. */
  partitionCount(): string;
}

const MAX_KNOWN = 10_000;

export function createKeys({ prefix = 'dh', partitions }: { prefix?: string; partitions: number }): Keys {
  /** Remembered for the tenants of the moment: several keys are built for each request. */
  const known = new Map<string, number>();
  function partitionOf(tenantId: string): number {
    const remembered = known.get(tenantId);
    if (remembered !== undefined) return remembered;
    if (known.size >= MAX_KNOWN) known.clear();
    const partition = createHash('sha1').update(tenantId).digest().readUInt32BE(0) % partitions;
    known.set(tenantId, partition);
    return partition;
  }
  const tag = (partition: number) => `${prefix}:{p${partition}}`;
  const own = (tenantId: string) => tag(partitionOf(tenantId));
  return {
    partitions,
    partitionOf,
    stream: (lane, tenantId) => `${own(tenantId)}:q:${lane}:${tenantId}`,
    ready: (lane, partition) => `${tag(partition)}:ready:${lane}`,
    active: (lane, partition) => `${tag(partition)}:active:${lane}`,
    fairness: (lane, partition) => `${tag(partition)}:fair:${lane}`,
    doorbell: (lane, partition) => `${tag(partition)}:bell:${lane}`,
    log: (tenantId, topic) => `${own(tenantId)}:log:${tenantId}:${topic}`,
    logMeta: (tenantId, topic) => `${own(tenantId)}:meta:${tenantId}:${topic}`,
    domainEvents: (tenantId) => `${own(tenantId)}:events:${tenantId}`,
    everyOf: (tenantId) => `${own(tenantId)}:*:${tenantId}*`,
    events: (partition) => `${tag(partition)}:events`,
    control: (partition) => `${tag(partition)}:control`,
    ticket: (hash) => `${prefix}:ticket:${hash}`,
    revoked: (sessionId) => `${prefix}:revoked:${sessionId}`,
    changed: (userId) => `${prefix}:changed:${userId}`,
    loginAttempts: () => `${prefix}:login`,
    workers: () => `${prefix}:workers`,
    partitionCount: () => `${prefix}:partitions`,
  };
}
