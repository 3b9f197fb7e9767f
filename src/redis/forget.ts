/**
 * Takes a tenant, or a user, out of Redis. Keys are found by walking over them, not from what the database knows: its rows may
 * be gone already. In a cluster each server is walked over. Running again is fine.
 */
import type { RedisClients } from './clients.ts';
import type { Keys } from './keys.ts';

export interface Forgetting {
  /** Streams, logs, events and places in the order of tenants; resolves to how many keys there were. */
  tenant(tenantId: string): Promise<number>;
  /** Logs that the user wrote, and events that tell of the user or of these documents; how many of both. */
  user(tenantId: string, userId: string, documentIds: ReadonlySet<string>): Promise<number>;
}

const LANES = ['ingest', 'chat'] as const;
const EVENTS_AT_ONCE = 500;

export function createForgetting({ clients, keys }: { clients: RedisClients; keys: Keys }): Forgetting {
  const { ops } = clients;

  /** One call a key: those of one walk are in many slots. */
  async function remove(names: readonly string[]): Promise<number> {
    const gone = await Promise.all(names.map((name) => ops.unlink(name)));
    return gone.reduce((sum, count) => sum + count, 0);
  }

  async function forgetEvents(tenantId: string, isAbout: (event: string) => boolean): Promise<number> {
    const stream = keys.domainEvents(tenantId);
    let count = 0;
    for (let from = '-'; ; ) {
      const entries = await ops.xrange(stream, from, '+', 'COUNT', EVENTS_AT_ONCE);
      const about = entries.filter(([, fields]) => fields.some(isAbout)).map(([id]) => id);
      if (about.length > 0) count += await ops.xdel(stream, ...about);
      const last = entries.at(-1);
      if (!last || entries.length < EVENTS_AT_ONCE) return count;
      from = `(${last[0]}`;
    }
  }

  return {
    async tenant(tenantId) {
      let count = 0;
      for await (const names of clients.walk(keys.everyOf(tenantId))) count += await remove(names);
      const partition = keys.partitionOf(tenantId);
      for (const lane of LANES) {
        const stream = keys.stream(lane, tenantId);
        await ops.zrem(keys.ready(lane, partition), stream);
        await ops.srem(keys.active(lane, partition), stream);
        await ops.zrem(keys.fairness(lane, partition), stream);
      }
      return count;
    },

    async user(tenantId, userId, documentIds) {
      let count = 0;
      const prefix = keys.logMeta(tenantId, '');
      for await (const names of clients.walk(`${prefix}*`)) {
        for (const meta of names) {
          // Of a document that stays, too: who reads it is told its state by the database.
          if ((await ops.hget(meta, 'user')) !== userId) continue;
          count += await remove([keys.log(tenantId, meta.slice(prefix.length)), meta]);
        }
      }
      count += await forgetEvents(
        tenantId,
        (text) => text.includes(userId) || idsIn(text).some((id) => documentIds.has(id)),
      );
      return count;
    },
  };
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const idsIn = (text: string): string[] => text.match(UUID) ?? [];
