/** What a `REDIS_URL` says: one server, or some servers of a cluster, of which it tells the rest itself. */

export interface RedisNode {
  host: string;
  port: number;
}

export type RedisAddress =
  | { kind: 'server'; url: string }
  | { kind: 'cluster'; nodes: readonly RedisNode[]; username?: string; password?: string; tls: boolean };

export const REDIS_PROTOCOLS = ['redis://', 'rediss://', 'unix:', 'redis+cluster://', 'rediss+cluster://'] as const;

const CLUSTER = /^redis(s?)\+cluster:\/\/(?:([^@/]*)@)?([^@/?#]+)\/?$/;
/** A host with colons has brackets in a URL, and none where a cluster names it: there the last colon counts. */
const NODE = /^(?:\[([^\s[\]]+)\]|([^\s[\]]*[^\s[\]:])(?=:\d+$)|([^\s[\]:]+))(?::(\d{1,5}))?$/;
const DEFAULT_PORT = 6379;

export const isClusterUrl = (url: string): boolean => /^rediss?\+cluster:/.test(url);

/** `host:port`, as a cluster writes it; `base` names the host where the cluster left it out. */
export function parseNode(text: string, base?: RedisNode): RedisNode | undefined {
  const [, bracketed, named, alone, port] =
    NODE.exec(text.startsWith(':') && base ? `${base.host}${text}` : text) ?? [];
  const host = bracketed ?? named ?? alone;
  if (host === undefined) return undefined;
  const number = port === undefined ? DEFAULT_PORT : Number(port);
  return number > 0 && number < 65_536 ? { host, port: number } : undefined;
}

/** Throws where the URL of a cluster cannot be read; never repeats it, because it may have a password. */
export function parseRedisUrl(url: string): RedisAddress {
  if (!isClusterUrl(url)) return { kind: 'server', url };
  const [, secure, login = '', list = ''] = CLUSTER.exec(url) ?? [];
  const nodes = list.split(',').flatMap((part) => parseNode(part.trim()) ?? []);
  if (nodes.length === 0 || nodes.length !== list.split(',').length) {
    throw new Error('a cluster is redis+cluster://[user:password@]host:port,host:port');
  }
  const colon = login.indexOf(':');
  const username = decodeURIComponent(colon < 0 ? login : login.slice(0, colon));
  const password = colon < 0 ? '' : decodeURIComponent(login.slice(colon + 1));
  return { kind: 'cluster', nodes, tls: secure === 's', ...(username && { username }), ...(password && { password }) };
}
