/** Somebody who uses DreamHub from outside, by HTTP and a raw WebSocket: what the contract says, and nothing else. */
import { decode, encode } from '@msgpack/msgpack';

export interface Frame {
  type: string;
  topic?: string;
  epoch?: string;
  seq?: number;
  id?: string | number;
  code?: string;
  data?: Record<string, unknown>;
  [field: string]: unknown;
}

export interface Socket {
  readonly frames: Frame[];
  readonly protocol: string;
  send(frame: Record<string, unknown>): void;
  /** The first frame, of those that came and those to come, for which this is true. */
  until(test: (frame: Frame) => boolean): Promise<Frame>;
  readonly closed: Promise<{ code: number; reason: string }>;
  close(): void;
}

const PATIENCE_MS = 60_000;

function late<T>(promise: Promise<T>, what: () => string): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(what())), PATIENCE_MS);
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

/** Opens a socket; resolves with its `hello` received. */
export async function openSocket(
  url: string,
  options: { token?: string; ticket?: string; protocol?: string; headers?: Record<string, string> },
): Promise<Socket> {
  const address = `${url.replace(/^http/, 'ws')}/ws${options.ticket ? `?ticket=${options.ticket}` : ''}`;
  const ws = new WebSocket(address, {
    ...(options.protocol && { protocols: [options.protocol] }),
    headers: { ...(options.token && { authorization: `Bearer ${options.token}` }), ...options.headers },
  } as unknown as string[]);
  ws.binaryType = 'arraybuffer';
  const frames: Frame[] = [];
  const waiting = new Set<(frame: Frame) => void>();
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<{ code: number; reason: string }>();
  ws.onmessage = ({ data }) => {
    const frame = (typeof data === 'string' ? JSON.parse(data) : decode(new Uint8Array(data))) as Frame;
    frames.push(frame);
    for (const wait of waiting) wait(frame);
  };
  ws.onclose = ({ code, reason }) => onClosed({ code, reason });

  const socket: Socket = {
    frames,
    get protocol() {
      return ws.protocol;
    },
    send: (frame) => ws.send(ws.protocol === 'dreamhub.v1.msgpack' ? encode(frame) : JSON.stringify(frame)),
    until(test) {
      const known = frames.find(test);
      if (known) return Promise.resolve(known);
      const { promise, resolve, reject } = Promise.withResolvers<Frame>();
      const wait = (frame: Frame) => test(frame) && resolve(frame);
      waiting.add(wait);
      void closed.then(({ code, reason }) => reject(new Error(`the socket closed with ${code} ${reason}`)));
      promise.catch(() => undefined);
      return late(promise, () => `nothing of the kind among ${JSON.stringify(frames.slice(-10))}`).finally(() =>
        waiting.delete(wait),
      );
    },
    closed,
    close: () => ws.close(),
  };
  await socket.until(({ type }) => type === 'hello');
  return socket;
}

export interface Answer<T = Record<string, unknown>> {
  status: number;
  headers: Headers;
  body: T;
}

export type Person = Awaited<ReturnType<typeof register>>;

/** Registers the first user of a new tenant. */
export async function register(url: string, tenant = `tenant-${crypto.randomUUID()}`) {
  const email = `${crypto.randomUUID()}@example.com`;
  const password = 'correct horse battery staple';
  const response = await fetch(`${url}/api/v1/auth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tenant, email, password }),
  });
  if (response.status !== 201) throw new Error(`registering answered ${response.status}: ${await response.text()}`);
  const session = (await response.json()) as {
    access_token: string;
    refresh_token: string;
    user: { id: string };
    tenant: { id: string };
  };
  const token = session.access_token;

  async function call<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> {
    const answer = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    const isJson = (answer.headers.get('content-type') ?? '').includes('json');
    return {
      status: answer.status,
      headers: answer.headers,
      body: (isJson && text !== '' ? JSON.parse(text) : text) as T,
    };
  }

  async function upload(
    content: string | Uint8Array | Blob,
    filename: string,
    fields: Record<string, string> = {},
    headers: Record<string, string> = {},
  ) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append('file', content instanceof Blob ? content : new Blob([content as BlobPart]), filename);
    const answer = await fetch(`${url}/api/v1/upload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, ...headers },
      body: form,
    });
    const body = (await answer.json()) as {
      document_id: string;
      task_id: string;
      status: string;
      duplicate: boolean;
      code?: string;
    };
    return { status: answer.status, headers: answer.headers, body };
  }

  return {
    url,
    tenant,
    email,
    password,
    session,
    token,
    call,
    upload,
    socket: (options: { protocol?: string } = {}) => openSocket(url, { token, ...options }),
    /** Uploads and waits for the pushed end of its task; answers with that event. */
    async learn(
      socket: Socket,
      content: string | Uint8Array | Blob,
      filename: string,
      fields: Record<string, string> = {},
    ) {
      const { status, body } = await upload(content, filename, fields);
      if (status !== 202) throw new Error(`the upload of ${filename} answered ${status}: ${JSON.stringify(body)}`);
      const topic = `task:${body.task_id}`;
      socket.send({ type: 'subscribe', topic });
      const end = await socket.until(
        (frame) => frame.topic === topic && /^task\.(succeeded|failed|dead|cancelled)$/.test(frame.type),
      );
      return { ...body, end };
    },
  };
}

/** The events of one topic in the order in which they came. */
export function eventsOf(socket: Socket, topic: string): Frame[] {
  return socket.frames.filter((frame) => frame.topic === topic && frame.seq !== undefined);
}
