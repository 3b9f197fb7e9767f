import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';

/** Answers each piece with `echo ` and the piece, and remembers what it got. */
async function startEcho() {
  const got: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      got.push(bytes.toString());
      socket.write(`echo ${bytes}`);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return {
    got,
    port: address.port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A client that keeps what it was told, in order: pieces, `end`, the code of an error, `close`. */
function dial(port: number) {
  const told: string[] = [];
  let waiting: { text: string; resolve(): void }[] = [];
  const socket = connect({ port, host: '127.0.0.1' });
  const tell = (what: string) => {
    told.push(what);
    for (const { text, resolve } of waiting) if (told.join('').includes(text)) resolve();
    waiting = waiting.filter(({ text }) => !told.join('').includes(text));
  };
  socket.on('data', (bytes) => tell(bytes.toString()));
  socket.on('error', (error: NodeJS.ErrnoException) => tell(error.code ?? error.message));
  socket.on('close', () => tell('close'));
  return {
    told,
    send: (text: string) => void socket.write(text),
    until: (text: string) =>
      new Promise<void>((resolve) => {
        waiting.push({ text, resolve });
        if (told.join('').includes(text)) resolve();
      }),
    end: () => socket.destroy(),
  };
}

let echo: Awaited<ReturnType<typeof startEcho>>;
let proxy: TcpProxy;
beforeEach(async () => {
  echo = await startEcho();
  proxy = await startTcpProxy({ host: '127.0.0.1', port: echo.port });
});
afterEach(async () => {
  await proxy.stop();
  await echo.stop();
});

/** A connection over which something has passed already. */
async function open() {
  const client = dial(proxy.port);
  client.send('hello');
  await client.until('echo hello');
  client.told.length = 0;
  return client;
}

describe('the proxy', () => {
  test('passes everything on, in order, late where it has latency', async () => {
    const client = await open();
    await proxy.set({ type: 'latency', ms: 50 });
    const started = performance.now();
    client.send('slow');
    await client.until('echo slow');
    expect(performance.now() - started).toBeGreaterThanOrEqual(95);
    await proxy.set({ type: 'pass' });
    client.send('again');
    await client.until('echo again');
    client.end();
  });

  test('half-open, swallows on the connections of now and on new ones, for ever, without closing', async () => {
    const client = await open();
    await proxy.set({ type: 'half-open' });
    const newcomer = dial(proxy.port);
    client.send('lost');
    newcomer.send('lost too');
    await eventually('the newcomer is accepted', () => proxy.connections() === 2);
    await proxy.set({ type: 'pass' });
    client.send('still lost');
    const fresh = await open();
    expect(echo.got).toEqual(['hello', 'hello']);
    expect([client.told, newcomer.told]).toEqual([[], []]);
    proxy.cut();
    await Promise.all([client.until('close'), newcomer.until('close'), fresh.until('close')]);
  });

  test('cuts after the request: the server has it, nobody has the reply', async () => {
    const client = await open();
    await proxy.set({ type: 'cut-after-request' });
    client.send('paid');
    await client.until('close');
    expect(echo.got).toEqual(['hello', 'paid']);
    expect(client.told.join('')).not.toContain('echo');
  });

  test('cuts in the middle of a reply', async () => {
    const client = await open();
    await proxy.set({ type: 'cut-mid-reply' });
    client.send('1234567');
    await client.until('close');
    expect(client.told[0]).toBe('echo 1');
  });

  test('resets, refuses, and comes back on the same port', async () => {
    const client = await open();
    const { port } = proxy;
    await proxy.set({ type: 'reset' });
    await client.until('close');
    const reset = dial(port);
    await reset.until('close');
    await proxy.set({ type: 'refuse' });
    const refused = dial(port);
    await refused.until('ECONNREFUSED');
    await proxy.set({ type: 'pass' });
    expect(proxy.port).toBe(port);
    (await open()).end();
  });
});
