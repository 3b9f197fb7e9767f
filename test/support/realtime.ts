/** A node's realtime layer over a real Redis, and readers that can be waited for. */
import type {
  EventFrame,
  EventOf,
  EventPublisher,
  HubEvent,
  LogTopic,
  TopicReader,
} from '../../src/contracts/index.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs, type Scope } from '../../src/kernel/context.ts';
import { silentLogger } from '../../src/kernel/logger.ts';
import { createControl } from '../../src/realtime/control.ts';
import { createHub } from '../../src/realtime/hub.ts';
import { createEventPublisher, type EventPublisherOptions } from '../../src/realtime/log.ts';
import type { SnapshotSource } from '../../src/realtime/topic-log.ts';
import { createRedisClients } from '../../src/redis/clients.ts';
import { createKeys } from '../../src/redis/keys.ts';

export const uuid = () => Bun.randomUUIDv7();
export const someone = (tenantId = uuid()): Scope => ({ tenantId, userId: uuid(), traceId: newTraceId() });
export const turnTopic = () => `turn:${uuid()}` as const;

/** Everything exists for everybody: the hub's own checks are what is tested. */
const emptySource: SnapshotSource = { snapshot: async () => ({ snapshot: {} }) };

export interface NodeOptions {
  url: string;
  source?: SnapshotSource;
  partitions?: number;
  publisher?: Partial<EventPublisherOptions>;
}

export type RealtimeNode = Awaited<ReturnType<typeof startNode>>;

export async function startNode({ url, source = emptySource, partitions = 4, publisher: more }: NodeOptions) {
  const keys = createKeys({ partitions });
  const clients = createRedisClients({ url, logger: silentLogger });
  const base = { clients, keys, clock: systemClock, logger: silentLogger };
  const publisher = createEventPublisher({ ...base, ttlSeconds: 600, maxLen: 1_000, ...more });
  const hub = createHub({ ...base, source });
  const control = createControl(base);
  // A cluster's clients don't queue what comes before they know its servers.
  await clients.info();
  await hub.start();
  await control.start();
  return {
    ...base,
    publisher,
    hub,
    control,
    async stop() {
      await hub.stop();
      await control.stop();
      await clients.close();
    },
  };
}

/** What a reader was told, in order, and ways to wait for more. */
export function recorder(options: { ready?: () => Promise<void> | null } = {}) {
  const events: EventFrame[] = [];
  const resets: Parameters<TopicReader['reset']>[0][] = [];
  /** Events and resets as they came. */
  const log: ({ event: EventFrame } | { reset: (typeof resets)[number] })[] = [];
  const waiting = new Set<{ holds: () => boolean; resolve: () => void }>();
  const changed = () => {
    for (const one of [...waiting]) {
      if (!one.holds()) continue;
      waiting.delete(one);
      one.resolve();
    }
  };
  const reader: TopicReader = {
    event(event: HubEvent) {
      const frame = JSON.parse(event.json) as EventFrame;
      events.push(frame);
      log.push({ event: frame });
      changed();
    },
    reset(reset) {
      resets.push(reset);
      log.push({ reset });
      changed();
    },
    ...(options.ready && { ready: options.ready }),
  };
  return {
    reader,
    events,
    resets,
    log,
    seqs: () => events.map(({ seq }) => seq),
    /** The text that a client shows: a reset or a new attempt restarts it. */
    text() {
      let text = '';
      for (const entry of log) {
        if ('reset' in entry) text = String(entry.reset.snapshot['text'] ?? '');
        else if (entry.event.type === 'turn.started') text = '';
        else if (entry.event.type === 'turn.delta') text += (entry.event.data as { text: string }).text;
      }
      return text;
    },
    until(holds: () => boolean): Promise<void> {
      if (holds()) return Promise.resolve();
      return new Promise((resolve) => waiting.add({ holds, resolve }));
    },
    untilType(type: string): Promise<void> {
      return this.until(() => events.some((event) => event.type === type));
    },
  };
}

export const delta = (text: string): EventOf => ({ type: 'turn.delta', data: { text } });
export const started = (topic: string, attempt: number): EventOf => ({
  type: 'turn.started',
  data: { attempt, turn_id: topic.slice('turn:'.length) },
});
export const completed = (text: string): EventOf => ({
  type: 'turn.completed',
  data: { message_id: uuid(), text, sources: [], usage: { prompt_tokens: 1, completion_tokens: 1, cost: 0 } },
});

/** Appends events of one attempt as `scope`. */
export function append(
  publisher: EventPublisher,
  scope: Scope,
  topic: LogTopic,
  attempt: number,
  ...events: EventOf[]
): Promise<boolean[]> {
  return runAs(scope, () => publisher.append(events.map((event) => ({ topic, attempt, event }))));
}
