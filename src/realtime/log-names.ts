/**
 * The keys of logs that are written to, each built once: every event asks for them, and looking anything up by a string
 * that was built anew costs a walk over it.
 */
import { AppError } from '../kernel/errors.ts';
import type { Keys } from '../redis/keys.ts';
import { parseTopic } from './topics.ts';

export interface LogNames {
  readonly meta: string;
  readonly log: string;
}

/** Turns and tasks that one process writes to at a time, many times over. */
const MAX_NAMES = 20_000;

export function createLogNames(keys: Pick<Keys, 'log' | 'logMeta'>) {
  const byTenant = new Map<string, Map<string, LogNames>>();
  let size = 0;

  function make(tenantId: string, topic: string): LogNames {
    if (parseTopic(topic)?.kind !== 'log') throw new AppError('internal', `No log has the name "${topic}".`);
    if (size >= MAX_NAMES) {
      byTenant.clear();
      size = 0;
    }
    const names = { meta: keys.logMeta(tenantId, topic), log: keys.log(tenantId, topic) };
    const own = byTenant.get(tenantId) ?? new Map<string, LogNames>();
    byTenant.set(tenantId, own.set(topic, names));
    size += 1;
    return names;
  }

  return {
    /** Throws `internal` for what is the name of no log. */
    of: (tenantId: string, topic: string): LogNames => byTenant.get(tenantId)?.get(topic) ?? make(tenantId, topic),
  };
}
