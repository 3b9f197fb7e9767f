/** Server-Sent Events of an iteration, as OpenAI's clients read them. */
import type { Clock } from '../../kernel/clock.ts';

export interface EventStreamOptions {
  clock: Clock;
  /** Called when the reader goes: whatever the iteration waits for must end. */
  onGone(): void;
  heartbeatMs?: number;
}

const HEARTBEAT_MS = 15_000;

/** `events` are whole, with their blank line. What the iteration throws cuts the answer off: it tells its errors itself. */
export function eventStream(
  events: AsyncGenerator<string>,
  { clock, onGone, heartbeatMs = HEARTBEAT_MS }: EventStreamOptions,
): Response {
  const encoder = new TextEncoder();
  let cancelHeartbeat = () => {};

  function beat(controller: ReadableStreamDefaultController<Uint8Array>): void {
    cancelHeartbeat = clock.after(heartbeatMs, () => {
      if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(': still here\n\n'));
      beat(controller);
    });
  }

  const stream = new ReadableStream<Uint8Array>({
    start: beat,
    async pull(controller) {
      try {
        const { done, value } = await events.next();
        if (!done) return controller.enqueue(encoder.encode(value));
        cancelHeartbeat();
        controller.close();
      } catch (error) {
        cancelHeartbeat();
        throw error;
      }
    },
    cancel() {
      cancelHeartbeat();
      onGone();
    },
  });
  return new Response(stream, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    },
  });
}
