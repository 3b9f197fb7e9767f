/** The `openai` package as a transport: our own retries, keys, timeouts and checks around it (see `design/traps.md`). */
import OpenAI from 'openai';
import type { Clock } from '../kernel/clock.ts';
import { timedOut } from './provider-failure.ts';

export interface OpenAiClientOptions {
  /** `…/v1`; absent: OpenAI's own. */
  baseUrl?: string | undefined;
}

/** Ours end earlier; the package's timer only covers the time to the headers anyway. */
const TRANSPORT_TIMEOUT_MS = 600_000;

/** Makes one client a key and keeps it. Nothing is read from the environment. */
export function createOpenAiClients({ baseUrl }: OpenAiClientOptions): (key: string) => OpenAI {
  const clients = new Map<string, OpenAI>();
  return (key) => {
    const known = clients.get(key);
    if (known) return known;
    const client = new OpenAI({
      apiKey: key || 'none',
      baseURL: baseUrl ?? 'https://api.openai.com/v1',
      organization: null,
      project: null,
      maxRetries: 0,
      timeout: TRANSPORT_TIMEOUT_MS,
      logLevel: 'off',
    });
    clients.set(key, client);
    return client;
  };
}

export interface Deadline {
  /** For the request: aborts with the caller's signal, and when the time is up. */
  readonly signal: AbortSignal;
  /** Waits for a step; rejects when the time since `extend` is up or the caller aborts, whatever the step does. */
  race<T>(step: PromiseLike<T>): Promise<T>;
  /** True once the caller gave up, as opposed to the time being up. */
  abandoned(): boolean;
  /** Starts the time again, with this many milliseconds. */
  extend(ms: number): void;
  /** Ends the request if it still runs, and the timer. */
  end(): void;
}

/** A time limit that is pushed back by each sign of life. States: running → over (timed out, aborted or ended). */
export function createDeadline(clock: Clock, outer: AbortSignal, ms: number): Deadline {
  const controller = new AbortController();
  const over = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
  });
  // Perhaps no step is waited for when the time is up.
  over.catch(() => undefined);
  let cancelTimer = clock.after(ms, () => controller.abort(timedOut()));
  const onOuterAbort = () => controller.abort(outer.reason);
  if (outer.aborted) onOuterAbort();
  else outer.addEventListener('abort', onOuterAbort, { once: true });
  return {
    signal: controller.signal,
    race: (step) => Promise.race([over, step]),
    abandoned: () => outer.aborted,
    extend(more) {
      cancelTimer();
      cancelTimer = clock.after(more, () => controller.abort(timedOut()));
    },
    end() {
      cancelTimer();
      outer.removeEventListener('abort', onOuterAbort);
      controller.abort(new Error('The request is over.'));
    },
  };
}
