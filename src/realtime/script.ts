/** A Lua script that Redis knows by its hash, sent whole only to a server that has not seen it. */
import { createHash } from 'node:crypto';
import type { RedisClient } from '../redis/clients.ts';

export type ScriptArgument = string | number;

export interface Script {
  run(client: RedisClient, keys: readonly string[], args: readonly ScriptArgument[]): Promise<unknown>;
}

export function createScript(lua: string): Script {
  const hash = createHash('sha1').update(lua).digest('hex');
  return {
    async run(client, keys, args) {
      try {
        return await client.evalsha(hash, keys.length, ...keys, ...args);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
        return client.eval(lua, keys.length, ...keys, ...args);
      }
    },
  };
}
