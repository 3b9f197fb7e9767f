/**
 * A reader of one turn who comes back after every cut: SSE with `Last-Event-ID`. It keeps what a person would have on the
 * screen, and complains about every gap and repeat.
 */
import { systemClock } from '../../src/kernel/clock.ts';

export interface TurnView {
  attempt: number;
  /** The deltas of the last attempt, one after the other; a reset replaces them by its snapshot's text. */
  text: string;
  /** `completed`, `failed`, `cancelled`; undefined until then. */
  status: string | undefined;
  /** What the final event said; undefined where it came as a snapshot, or says no text. */
  finalText: string | undefined;
  /** How often the whole state was told anew. */
  resets: number;
  problems: string[];
  /** What it was told last, for whoever has to understand a problem. */
  tail: string[];
}

interface Told {
  type: string;
  epoch: string;
  seq: number;
  data?: Record<string, unknown>;
  snapshot?: Record<string, unknown>;
}

const RETRY_MS = 50;
const KEPT = 10;
const FINAL = /^turn\.(completed|failed|cancelled)$/;

async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Told> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body) {
    const blocks = (rest + decoder.decode(bytes, { stream: true })).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data !== undefined) yield JSON.parse(data);
    }
  }
}

/** Follows until the turn has ended or the signal aborts. */
export async function followTurn(
  { url, token, turnId }: { url: string; token: string; turnId: string },
  signal: AbortSignal,
): Promise<TurnView> {
  const view: TurnView = {
    attempt: 0,
    text: '',
    status: undefined,
    finalText: undefined,
    resets: 0,
    problems: [],
    tail: [],
  };
  let position: { epoch: string; seq: number } | undefined;

  function take({ type, epoch, seq, data = {}, snapshot = {} }: Told): void {
    if (type === 'reset') {
      view.resets += 1;
      view.text = String(snapshot['text'] ?? '');
      view.attempt = Number(snapshot['attempt'] ?? 0);
      const status = String(snapshot['status']);
      view.status = status === 'queued' || status === 'running' ? undefined : status;
    } else {
      const next = position === undefined ? 1 : position.seq + 1;
      if (seq !== next || (position !== undefined && position.epoch !== epoch)) {
        view.problems.push(`${type} ${epoch}:${seq} came after ${position?.epoch ?? '-'}:${position?.seq ?? 0}`);
      }
      if (type === 'turn.started') {
        const attempt = Number(data['attempt']);
        if (attempt < view.attempt) view.problems.push(`attempt ${attempt} came after ${view.attempt}`);
        view.attempt = attempt;
        view.text = '';
      } else if (type === 'turn.delta') {
        view.text += String(data['text']);
      } else if (FINAL.test(type)) {
        view.status = type.slice('turn.'.length);
        view.finalText = typeof data['text'] === 'string' ? data['text'] : undefined;
      }
    }
    position = { epoch, seq };
    view.tail = [...view.tail, `${type} ${epoch.slice(0, 6)}:${seq} (${view.text.length})`].slice(-KEPT);
  }

  while (view.status === undefined && !signal.aborted) {
    try {
      const response = await fetch(`${url}/api/v1/turns/${turnId}/events`, {
        headers: {
          authorization: `Bearer ${token}`,
          ...(position && { 'last-event-id': `${position.epoch}:${position.seq}` }),
        },
        signal,
      });
      if (response.status === 404) view.problems.push('404 for a turn that was accepted');
      if (response.ok && response.body) {
        for await (const frame of framesOf(response.body)) take(frame);
      }
    } catch {
      // Cut off: that is what this reader is for.
    }
    if (view.status === undefined && !signal.aborted) await systemClock.sleep(RETRY_MS);
  }
  return view;
}
