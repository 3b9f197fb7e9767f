/** Loads the Lua scripts into a connection. Each opens with what its keys and arguments are and what it returns. */
import type { RedisClient } from '../redis/clients.ts';
import ack from './scripts/ack.lua' with { type: 'text' };
import inspect from './scripts/inspect.lua' with { type: 'text' };
import prelude from './scripts/prelude.lua' with { type: 'text' };
import publish from './scripts/publish.lua' with { type: 'text' };
import push from './scripts/push.lua' with { type: 'text' };
import reclaim from './scripts/reclaim.lua' with { type: 'text' };
import recover from './scripts/recover.lua' with { type: 'text' };
import release from './scripts/release.lua' with { type: 'text' };
import renew from './scripts/renew.lua' with { type: 'text' };
import retire from './scripts/retire.lua' with { type: 'text' };
import take from './scripts/take.lua' with { type: 'text' };

const SCRIPTS = { ack, inspect, publish, push, reclaim, recover, release, renew, retire, take } as const;

export type ScriptName = keyof typeof SCRIPTS;
export type ScriptArgument = string | number;
export type RunScript = (
  name: ScriptName,
  keys: readonly string[],
  args: readonly ScriptArgument[],
) => Promise<unknown>;

type Command = (...args: ScriptArgument[]) => Promise<unknown>;

/** Makes the scripts commands of this connection (loading twice is fine) and returns the way to call them. */
export function loadScripts(client: RedisClient): RunScript {
  const commands = new Map<ScriptName, Command>();
  for (const name of Object.keys(SCRIPTS) as ScriptName[]) {
    const command = `dreamhub_queue_${name}`;
    client.defineCommand(command, { lua: `${prelude}\n${SCRIPTS[name]}` });
    commands.set(name, (Reflect.get(client, command) as Command).bind(client));
  }
  return (name, keys, args) => {
    const command = commands.get(name);
    if (!command) throw new Error(`there is no script ${name}`);
    return command(keys.length, ...keys, ...args);
  };
}
