/**
 * What one socket still has to be sent. Bytes wait in the socket's own buffer, which is bounded here. States: flowing,
 * behind (something waits), closed. Behind, the hub is asked to hold back until little is left, so a reader that is slow
 * for a while misses nothing and costs little; one that takes nothing for `stallMs`, or whose buffer is over the budget
 * because of what cannot be held back, is too slow and is closed: it resumes from its last seq when it comes back.
 *
 * Bun says 0 for a frame that it dropped; a socket that lost one frame is as good as closed. Its `drain` can be missed,
 * so `check` is also called on a timer.
 */
import type { ServerWebSocket } from 'bun';
import type { Clock } from '../kernel/clock.ts';

export interface OutboxLimits {
  /** Bytes that may wait. A single frame may be larger if nothing waits before it. */
  budgetBytes: number;
  /** How long a socket may take nothing while something waits, in milliseconds. */
  stallMs: number;
}

/** Above this the hub is asked to wait; at the lower mark it goes on. */
const HIGH_WATER_BYTES = 65_536;
const LOW_WATER_BYTES = 16_384;

/** A class, because there is one for every socket: its functions are shared. */
export class Outbox {
  private room: PromiseWithResolvers<void> | undefined;
  /** The least that has waited since it fell behind, and when that was. */
  private least = 0;
  private leastAt = 0;
  behind = false;

  constructor(
    private readonly socket: ServerWebSocket<unknown>,
    private readonly limits: OutboxLimits,
    private readonly clock: Clock,
  ) {}

  get bytes(): number {
    return this.behind ? this.socket.getBufferedAmount() : 0;
  }

  /** False when the socket is too slow, or has lost a frame. */
  send(frame: string | Uint8Array): boolean {
    if (this.behind && this.socket.getBufferedAmount() > this.limits.budgetBytes) return false;
    const sent = typeof frame === 'string' ? this.socket.sendText(frame) : this.socket.sendBinary(frame);
    if (sent === 0) return false;
    if (sent === -1 && !this.behind) {
      this.behind = true;
      this.least = Number.POSITIVE_INFINITY;
    }
    return true;
  }

  /** Bytes may wait that did not go through here: what many sockets were told at once. */
  look(): void {
    if (this.behind || this.socket.getBufferedAmount() === 0) return;
    this.behind = true;
    this.least = Number.POSITIVE_INFINITY;
  }

  /** `null` while more may be sent, else a promise for that. */
  ready(): Promise<void> | null {
    if (!this.behind || this.socket.getBufferedAmount() <= HIGH_WATER_BYTES) return null;
    this.room ??= Promise.withResolvers();
    return this.room.promise;
  }

  /** Looks how far the socket has come; false when it has not moved for too long. */
  check(): boolean {
    if (!this.behind) return true;
    const waiting = this.socket.getBufferedAmount();
    if (waiting <= LOW_WATER_BYTES) this.release();
    if (waiting === 0) {
      this.behind = false;
      return true;
    }
    const now = this.clock.now();
    if (waiting < this.least) {
      this.least = waiting;
      this.leastAt = now;
    }
    return now - this.leastAt < this.limits.stallMs;
  }

  /** Nobody waits for room any more. */
  release(): void {
    this.room?.resolve();
    this.room = undefined;
  }
}
