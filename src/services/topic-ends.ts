/**
 * The ends of turns and tasks, told from their rows: for readers whom nobody else will tell (`realtime/end-watch.ts`). What
 * is appended is what the attempt itself would have told, so whoever comes second is refused by the log and nobody hears
 * it twice. Where the log has not all of the text, because Redis lost some, it begins anew with all of it.
 */
import type { EventOf, EventPublisher, LogAppend, LogTopic } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { currentScope } from '../kernel/context.ts';
import type { OpenTopic, TopicEnds } from '../realtime/end-watch.ts';
import type { LogReader } from '../realtime/log-reader.ts';
import { foldLog, hasEnded } from '../realtime/log-state.ts';
import { parseTopic } from '../realtime/topics.ts';
import { readTopicStates } from '../repositories/topic-states.ts';
import { getTurn, type TurnRecord } from '../repositories/turns.ts';
import { eventOfTask, findTold } from './task-events.ts';

/** The event that ends a turn, as its row says; undefined while it has not ended. */
export function endOfTurn(turn: TurnRecord): EventOf | undefined {
  const { text, sources, usage } = turn;
  switch (turn.status) {
    case 'completed':
      return { type: 'turn.completed', data: { message_id: turn.answer_id, text, sources, usage } };
    case 'cancelled':
      return { type: 'turn.cancelled', data: { text } };
    case 'failed':
      return {
        type: 'turn.failed',
        data: { ...(turn.error ?? { code: 'internal', message: '' }), retryable: true },
      };
    default:
      return undefined;
  }
}

/** What a turn's attempt has told before its end, for a log that begins anew. */
const beforeEnd = ({ id, attempt, text, sources }: TurnRecord): EventOf[] => [
  { type: 'turn.started', data: { attempt, turn_id: id } },
  ...(sources.length > 0 ? [{ type: 'turn.sources', data: { sources } } as const] : []),
  ...(text === '' ? [] : [{ type: 'turn.delta', data: { text } } as const]),
];

export function createTopicEnds({
  database,
  publisher,
  logs,
}: {
  database: Database;
  publisher: EventPublisher;
  logs: Pick<LogReader, 'read'>;
}): TopicEnds {
  async function appendsForTurn(topic: LogTopic, id: string): Promise<LogAppend[]> {
    const turn = await database.tenant((sql) => getTurn(sql, id));
    const event = turn && endOfTurn(turn);
    if (!event) return [];
    const { attempt, text } = turn;
    const { tenantId } = currentScope();
    const told = await foldLog((after) => logs.read(tenantId, topic, after));
    const isWhole = told?.attempt === attempt && (told.state?.['text'] ?? '') === text;
    if (isWhole) return [{ topic, attempt, event }];
    return [...beforeEnd(turn), event].map((one, index) => ({
      topic,
      attempt,
      event: one,
      ...(index === 0 && { rebuild: true }),
    }));
  }

  async function appendsForTask(topic: LogTopic, id: string): Promise<LogAppend[]> {
    const found = await findTold(database, id);
    if (!found || !hasEnded(found.task)) return [];
    const { task, audience } = found;
    const event = eventOfTask(task);
    return event ? [{ topic, attempt: task.attempt, event, audience }] : [];
  }

  return {
    async findEnded(topics) {
      const parsed = topics.flatMap((topic) => {
        const name = parseTopic(topic.topic);
        return name?.kind === 'log' ? [{ ...topic, id: name.id, table: `${name.of}s` as const }] : [];
      });
      const keyOf = (one: { tenantId: string; id: string }) => `${one.tenantId} ${one.id}`;
      const states = await database.system((sql) =>
        Promise.all(
          (['turns', 'tasks'] as const).map((table) =>
            readTopicStates(
              sql,
              table,
              parsed.filter((one) => one.table === table),
            ),
          ),
        ),
      );
      const byKey = new Map(states.flat().map((state) => [keyOf(state), state]));
      const found: (OpenTopic & { userId: string })[] = [];
      for (const one of parsed) {
        const state = byKey.get(keyOf(one));
        if (state && hasEnded(state)) found.push({ tenantId: one.tenantId, topic: one.topic, userId: state.userId });
      }
      return found;
    },

    async announce(topic) {
      const name = parseTopic(topic);
      if (name?.kind !== 'log') return;
      const appends = await (name.of === 'turn' ? appendsForTurn(topic, name.id) : appendsForTask(topic, name.id));
      if (appends.length > 0) await publisher.append(appends);
    },
  };
}
