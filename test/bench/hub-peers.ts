/**
 * The peers of DreamHub's hub, one of them a process. Both get events over Redis from the producer and hand them to whoever
 * follows their topic; neither keeps a log, asks who is calling, bounds an outbox or can resume.
 */
import { createAdapter } from '@socket.io/redis-adapter';
import Redis from 'ioredis';
import { Server } from 'socket.io';

const { KIND = '', REDIS_URL = '' } = process.env;
const redis = () => new Redis(REDIS_URL.replace(/^unix:(\/\/)?/, ''));

/** Newline-batched `topic json` lines over one channel: what made the difference when it was measured. */
async function startBun(): Promise<number | undefined> {
  const server = Bun.serve<{ topic: string }>({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request, own) {
      const topic = new URL(request.url).searchParams.get('topic') ?? '';
      return own.upgrade(request, { data: { topic } }) ? undefined : new Response(null, { status: 400 });
    },
    websocket: {
      open(socket) {
        socket.subscribe(socket.data.topic);
        socket.sendText('{"type":"ready"}');
      },
      message() {},
    },
  });
  const subscriber = redis();
  subscriber.on('message', (_channel, text) => {
    for (const line of text.split('\n')) {
      const at = line.indexOf(' ');
      server.publish(line.slice(0, at), line.slice(at + 1));
    }
  });
  await subscriber.subscribe('bench');
  return server.port;
}

async function startSocketIo(): Promise<number> {
  const io = new Server({ transports: ['websocket'], adapter: createAdapter(redis(), redis()) });
  io.on('connection', (socket) => {
    socket.on('join', async (topic: string) => {
      await socket.join(topic);
      socket.emit('ready', 1);
    });
  });
  const server = (await import('node:http')).createServer();
  io.attach(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return address.port;
}

process.on('disconnect', () => process.exit(0));
process.send?.({ result: KIND === 'bun' ? await startBun() : await startSocketIo() });
