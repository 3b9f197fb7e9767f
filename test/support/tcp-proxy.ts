/**
 * A network between two parties that a test can break: it listens on 127.0.0.1 before a server (a port or a socket) and
 * treats what passes by its mode. A mode holds for the connections of now and for new ones.
 *
 * A connection: passing → frozen (half-open: both sides think that it lives, nothing comes or goes, not even a close; it
 * stays so whatever comes later, as after a peer that lost its power) → gone.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export type ProxyMode =
  | { type: 'pass' }
  /** So many milliseconds for each piece, each way; pieces keep their order. */
  | { type: 'latency'; ms: number }
  /** Swallows everything, new connections included. */
  | { type: 'half-open' }
  /** The server gets the next request of each connection, and nobody gets the reply. */
  | { type: 'cut-after-request' }
  /** Half of the next reply arrives. */
  | { type: 'cut-mid-reply' }
  /** Each connection passes so many bytes of replies from now on, drawn for each, then it is cut in mid-byte-stream. */
  | { type: 'cut-replies-after'; bytes(): number }
  /** RST for every connection, as from a machine that was started anew. */
  | { type: 'reset' }
  /** Nobody listens. */
  | { type: 'refuse' };

export type Upstream = { path: string } | { host: string; port: number };

export interface TcpProxy {
  readonly port: number;
  /** Resolves once it holds for every new connection. */
  set(mode: ProxyMode): Promise<void>;
  /** New connections go to another server, as behind a name or an address that moves; those of now stay where they are. */
  lead(to: Upstream): void;
  /** RST for the connections of now; new ones are treated by the mode. */
  cut(which?: 'all' | 'frozen'): void;
  /** Connections that were not closed by either side. */
  connections(): number;
  stop(): Promise<void>;
}

interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
  frozen: boolean;
  /** Bytes of replies that still pass. */
  left: number;
}

/** The same address through a proxy. */
export function through(url: string, { port }: Pick<TcpProxy, 'port'>): string {
  const changed = new URL(url);
  changed.host = `127.0.0.1:${port}`;
  return changed.href;
}

export async function startTcpProxy(first: Upstream): Promise<TcpProxy> {
  let upstream = first;
  const links = new Set<Link>();
  let mode: ProxyMode = { type: 'pass' };
  let server: Server | undefined;
  let port = 0;

  const allowance = () => (mode.type === 'cut-replies-after' ? mode.bytes() : Number.POSITIVE_INFINITY);

  function sever(link: Link): void {
    links.delete(link);
    link.client.resetAndDestroy();
    link.upstream.resetAndDestroy();
  }

  function forward(link: Link, from: Socket, to: Socket, isReply: boolean): void {
    let last: Promise<void> = Promise.resolve();
    /** Writes in the order of arrival, each piece after its delay. */
    function pass(act: () => void): void {
      const ms = mode.type === 'latency' ? mode.ms : 0;
      const delay = ms === 0 ? undefined : new Promise<void>((resolve) => setTimeout(resolve, ms));
      last = last
        .then(() => delay)
        .then(() => {
          if (!link.frozen && links.has(link)) act();
        });
    }
    from.on('data', (bytes: Buffer) => {
      if (link.frozen) return;
      if (mode.type === 'cut-after-request') {
        // The reply to a request of before is lost with its connection.
        if (isReply) sever(link);
        else to.write(bytes, () => sever(link));
      } else if (isReply && mode.type === 'cut-mid-reply') {
        to.write(bytes.subarray(0, Math.ceil(bytes.length / 2)), () => sever(link));
      } else if (isReply && bytes.length >= link.left) {
        const passing = bytes.subarray(0, link.left);
        link.left = 0;
        pass(() => to.write(passing, () => sever(link)));
      } else {
        if (isReply) link.left -= bytes.length;
        pass(() => {
          if (to.write(bytes)) return;
          from.pause();
          to.once('drain', () => from.resume());
        });
      }
    });
    from.on('end', () => pass(() => to.end()));
    from.on('error', () => undefined);
    from.on('close', () => {
      if (link.frozen) return;
      pass(() => {
        links.delete(link);
        to.destroy();
      });
    });
  }

  function accept(client: Socket): void {
    if (mode.type === 'reset') {
      client.on('error', () => undefined);
      client.resetAndDestroy();
      return;
    }
    const own = 'path' in upstream ? connect({ path: upstream.path }) : connect({ ...upstream });
    own.setNoDelay(true);
    client.setNoDelay(true);
    const link: Link = { client, upstream: own, frozen: mode.type === 'half-open', left: allowance() };
    links.add(link);
    forward(link, client, own, false);
    forward(link, own, client, true);
  }

  async function listen(): Promise<void> {
    if (server) return;
    const own = createServer({ allowHalfOpen: true }, accept);
    server = own;
    await new Promise<void>((resolve, reject) => {
      own.once('error', reject);
      own.listen(port, '127.0.0.1', resolve);
    });
    const address = own.address();
    if (typeof address === 'object' && address !== null) port = address.port;
  }

  async function unlisten(): Promise<void> {
    const own = server;
    server = undefined;
    for (const link of [...links]) sever(link);
    if (own) await new Promise<void>((resolve) => own.close(() => resolve()));
  }

  await listen();
  return {
    get port() {
      return port;
    },
    async set(next) {
      mode = next;
      for (const link of links) link.left = allowance();
      if (next.type === 'half-open') for (const link of links) link.frozen = true;
      if (next.type === 'reset') for (const link of [...links]) sever(link);
      if (next.type === 'refuse') await unlisten();
      else await listen();
    },
    lead(to) {
      upstream = to;
    },
    cut(which = 'all') {
      for (const link of [...links]) if (which === 'all' || link.frozen) sever(link);
    },
    connections: () => links.size,
    stop: unlisten,
  };
}
