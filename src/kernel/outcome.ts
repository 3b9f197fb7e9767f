/** How one attempt at a job ended. Jobs end in values, not in exceptions that somebody has to interpret. */
export type Outcome =
  | { readonly type: 'done' }
  /** The attempt failed for a reason that may pass; try again after so many milliseconds. */
  | { readonly type: 'retry'; readonly afterMs: number | undefined; readonly code: string; readonly message: string }
  /** The input is at fault; another attempt would fail alike. */
  | { readonly type: 'failed'; readonly code: string; readonly message: string }
  /** Somebody cancelled it. */
  | { readonly type: 'cancelled' }
  /** Another attempt owns the job by now: leave everything as it is. */
  | { readonly type: 'superseded' }
  /** This process is going away; the job was handed back without counting the attempt. */
  | { readonly type: 'released' }
  /** Nothing could be written down: the entry stays unacknowledged and comes again when its lease has ended. */
  | { readonly type: 'abandoned' }
  /** As `abandoned`, because what everybody stands on is away or has no room: that says nothing about the job. */
  | { readonly type: 'unavailable' };

export const done: Outcome = { type: 'done' };
export const cancelled: Outcome = { type: 'cancelled' };
export const superseded: Outcome = { type: 'superseded' };
export const released: Outcome = { type: 'released' };
export const retryIn = (afterMs: number | undefined, code: string, message: string): Outcome => ({
  type: 'retry',
  afterMs,
  code,
  message,
});
export const failed = (code: string, message: string): Outcome => ({ type: 'failed', code, message });
