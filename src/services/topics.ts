/** The state behind a topic, for readers whose events cannot be continued. PostgreSQL decides who may see it. */
import type { Database } from '../db/database.ts';
import { parseTopic } from '../realtime/topics.ts';
import { getConversation } from '../repositories/conversations.ts';
import { getTask } from '../repositories/tasks.ts';
import { getTurn } from '../repositories/turns.ts';

export interface TopicSource {
  /** Null for a topic that is not there, or not for the scope's user. */
  snapshot(topic: string): Promise<{ snapshot: Record<string, unknown> } | null>;
}

export function createTopicSource(database: Database): TopicSource {
  return {
    async snapshot(name) {
      const topic = parseTopic(name);
      if (!topic || !('id' in topic)) return null;
      const { id } = topic;
      const found = await database.tenant(async (sql) => {
        if (topic.kind === 'conversation') return getConversation(sql, id);
        return topic.of === 'task' ? getTask(sql, id) : getTurn(sql, id);
      });
      return found ? { snapshot: { ...found } } : null;
    },
  };
}
