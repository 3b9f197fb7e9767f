/** The names of topics, taken apart. A name that is none of these exists for nobody. */
import type { HintTopic, LogTopic } from '../contracts/index.ts';
import { isUuid } from '../kernel/ids.ts';

export type ParsedTopic =
  | { kind: 'log'; topic: LogTopic; of: 'task' | 'turn'; id: string }
  | { kind: 'conversation'; topic: HintTopic; id: string }
  | { kind: 'user' | 'tenant'; topic: HintTopic };

/** `null` for what names no topic. Ids are lower case, so that a topic has one name. */
export function parseTopic(topic: string): ParsedTopic | null {
  if (topic === 'user' || topic === 'tenant') return { kind: topic, topic };
  const cut = topic.indexOf(':');
  const id = topic.slice(cut + 1);
  if (!isUuid(id) || id !== id.toLowerCase()) return null;
  const prefix = topic.slice(0, cut);
  if (prefix === 'task' || prefix === 'turn') return { kind: 'log', topic: `${prefix}:${id}`, of: prefix, id };
  return prefix === 'conversation' ? { kind: 'conversation', topic: `conversation:${id}`, id } : null;
}
