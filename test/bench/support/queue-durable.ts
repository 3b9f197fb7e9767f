/** What the processes of the queue's durable benchmark say to each other. */

/**
 * DreamHub with as many jobs at once as it comes with, and with as many as the bare side has under way; graphile-worker as it
 * comes, one job at a time, and with 16; bare batches.
 */
export const DURABLE_KINDS = ['dreamhub-16', 'dreamhub-128', 'graphile', 'graphile-16', 'skip-locked'] as const;
export type DurableKind = (typeof DURABLE_KINDS)[number];

export interface DurableOrder {
  /** Puts so many jobs into the empty database, then works on them; answers with `Drained`. */
  do: 'drain';
  jobs: number;
  tenants: readonly string[];
}

export interface Drained {
  ms: number;
  /** Microseconds of processor time a job: of this process, and of its sessions' servers as far as they live on. */
  own: number;
  server: number;
  /** Committed in the database, a job. */
  transactions: number;
}
