/** The client of a DreamHub server, for browsers and Bun: REST calls and the socket, over one session. */
import { type ClientClock, hostClock } from './clock.ts';
import { type Codec, jsonCodec } from './codec.ts';
import { createHttp, type Fetch, type Http } from './http.ts';
import { hostSocket, type SocketFactory } from './link.ts';
import { createRealtime, type Realtime } from './realtime.ts';
import { createSession, memoryTokenStore, type Session, type StoredSession, type TokenStore } from './session.ts';
import type {
  ApiKey,
  ApiKeyRequest,
  ChatAnswer,
  ChatRequest,
  Conversation,
  DocumentChunk,
  DocumentQuery,
  InviteRequest,
  KnowledgeDocument,
  LoginRequest,
  Member,
  Message,
  NewApiKey,
  NewMember,
  Page,
  PageQuery,
  Profile,
  RegisterRequest,
  Role,
  SearchAnswer,
  SearchQuery,
  SendRequest,
  Task,
  TaskStatus,
  Ticket,
  TokenAnswer,
  Turn,
  TurnNames,
  UserConfig,
  UserConfigChange,
} from './types.ts';
import { createUpload, type Upload } from './upload.ts';

export interface ClientOptions {
  /** Where the server is, e.g. `http://localhost:8080`; '' in a page that it served. */
  baseUrl: string;
  store?: TokenStore;
  codec?: Codec;
  /** For tests; the host's own are used by default. */
  fetch?: Fetch;
  socket?: SocketFactory;
  clock?: ClientClock;
  random?(): number;
  uuid?(): string;
}

export interface Client {
  session: Pick<Session, 'current' | 'onChange' | 'token'>;
  auth: {
    register(request: RegisterRequest): Promise<StoredSession>;
    login(request: LoginRequest): Promise<StoredSession>;
    /** Ends the session here, and on the server if it can be reached. */
    logout(): Promise<void>;
    me(): Promise<Profile>;
  };
  documents: {
    upload: Upload;
    list(query?: DocumentQuery): Promise<Page<KnowledgeDocument>>;
    get(id: string): Promise<KnowledgeDocument>;
    /** The extracted text, which every offset counts in: of the version that a source names, or that searches see. */
    text(id: string, of?: { version?: number | null; signal?: AbortSignal }): Promise<string>;
    chunks(id: string, query?: PageQuery): Promise<Page<DocumentChunk>>;
    remove(id: string): Promise<void>;
  };
  tasks: {
    get(id: string): Promise<Task>;
    list(query?: PageQuery & { status?: TaskStatus }): Promise<Page<Task>>;
    retry(id: string): Promise<void>;
    cancel(id: string): Promise<void>;
  };
  conversations: {
    create(title?: string): Promise<Conversation>;
    list(query?: PageQuery): Promise<Page<Conversation>>;
    get(id: string): Promise<Conversation>;
    rename(id: string, title: string): Promise<Conversation>;
    remove(id: string): Promise<void>;
    messages(id: string, query?: PageQuery): Promise<Page<Message>>;
    send(id: string, request: SendRequest): Promise<TurnNames>;
  };
  messages: {
    /** Of an answer; in the place of what was said of it before. */
    rate(id: string, rating: 1 | -1, comment?: string): Promise<void>;
  };
  turns: {
    get(id: string): Promise<Turn>;
    cancel(id: string): Promise<void>;
  };
  settings: {
    get(): Promise<UserConfig>;
    /** What is absent stays as it is, null removes. */
    set(change: UserConfigChange): Promise<UserConfig>;
  };
  members: {
    /** The invitation is in this answer and in no other. */
    invite(request: InviteRequest): Promise<NewMember>;
    list(query?: PageQuery): Promise<Page<Member>>;
    setRole(id: string, role: Role): Promise<Member>;
    /** A member, an invitation, or oneself. */
    remove(id: string): Promise<void>;
  };
  apiKeys: {
    /** The key is in this answer and in no other. */
    create(request: ApiKeyRequest): Promise<NewApiKey>;
    list(query?: PageQuery): Promise<Page<ApiKey>>;
    remove(id: string): Promise<void>;
  };
  search(query: SearchQuery): Promise<SearchAnswer>;
  /** One call, the whole answer. */
  chat(request: ChatRequest): Promise<ChatAnswer>;
  /** A new id, for `client_message_id`. */
  uuid(): string;
  /** A socket for the session that is current; make a new one after another login. */
  connect(): Realtime;
}

export function createClient(options: ClientOptions): Client {
  const clock = options.clock ?? hostClock;
  const uuid = options.uuid ?? randomUuid;
  const http: Http = createHttp({
    baseUrl: options.baseUrl,
    fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    session: () => session,
  });
  const session: Session = createSession({
    store: options.store ?? memoryTokenStore(),
    clock,
    refresh: (refresh_token) =>
      http.json<TokenAnswer>('POST', '/auth/refresh', { body: { refresh_token }, authenticated: false }),
  });

  const { json } = http;
  const none = async (method: string, path: string, body?: unknown): Promise<void> => {
    const response = await http.call(method, path, body === undefined ? {} : { body });
    await response.body?.cancel();
  };
  const signIn = async (path: string, body: RegisterRequest | LoginRequest): Promise<StoredSession> =>
    session.save(await json<TokenAnswer>('POST', path, { body, authenticated: false }));
  const part = encodeURIComponent;

  return {
    session,
    auth: {
      register: (request) => signIn('/auth/register', request),
      login: (request) => signIn('/auth/login', request),
      async logout() {
        try {
          await none('POST', '/auth/logout');
        } finally {
          session.clear();
        }
      },
      me: () => json('GET', '/me'),
    },
    documents: {
      upload: createUpload({ http, session, XMLHttpRequest: globalThis.XMLHttpRequest }),
      list: (query = {}) => json('GET', '/documents', { query: { ...query } }),
      get: (id) => json('GET', `/documents/${part(id)}`),
      async text(id, { version, signal } = {}) {
        const response = await http.call('GET', `/documents/${part(id)}/text`, {
          ...(signal && { signal }),
          query: { ...(version != null && { version }) },
          headers: { accept: 'text/plain, application/json' },
        });
        if (!response.headers.get('content-type')?.includes('json')) return response.text();
        const { text } = (await response.json()) as { text: string };
        return text;
      },
      chunks: (id, query = {}) => json('GET', `/documents/${part(id)}/chunks`, { query: { ...query } }),
      remove: (id) => none('DELETE', `/documents/${part(id)}`),
    },
    tasks: {
      get: (id) => json('GET', `/tasks/${part(id)}`),
      list: (query = {}) => json('GET', '/tasks', { query: { ...query } }),
      retry: (id) => none('POST', `/tasks/${part(id)}/retry`),
      cancel: (id) => none('POST', `/tasks/${part(id)}/cancel`),
    },
    conversations: {
      create: (title) => json('POST', '/conversations', { body: title === undefined ? {} : { title } }),
      list: (query = {}) => json('GET', '/conversations', { query: { ...query } }),
      get: (id) => json('GET', `/conversations/${part(id)}`),
      rename: (id, title) => json('PATCH', `/conversations/${part(id)}`, { body: { title } }),
      remove: (id) => none('DELETE', `/conversations/${part(id)}`),
      messages: (id, query = {}) => json('GET', `/conversations/${part(id)}/messages`, { query: { ...query } }),
      send: (id, request) => json('POST', `/conversations/${part(id)}/messages`, { body: request }),
    },
    messages: {
      rate: (id, rating, comment) =>
        none('POST', `/messages/${part(id)}/feedback`, { rating, ...(comment !== undefined && { comment }) }),
    },
    turns: {
      get: (id) => json('GET', `/turns/${part(id)}`),
      cancel: (id) => none('POST', `/turns/${part(id)}/cancel`),
    },
    settings: {
      get: () => json('GET', '/users/me/config'),
      set: (change) => json('PUT', '/users/me/config', { body: change }),
    },
    members: {
      invite: (request) => json('POST', '/members', { body: request }),
      list: (query = {}) => json('GET', '/members', { query: { ...query } }),
      setRole: (id, role) => json('PATCH', `/members/${part(id)}`, { body: { role } }),
      remove: (id) => none('DELETE', `/members/${part(id)}`),
    },
    apiKeys: {
      create: (request) => json('POST', '/api-keys', { body: request }),
      list: (query = {}) => json('GET', '/api-keys', { query: { ...query } }),
      remove: (id) => none('DELETE', `/api-keys/${part(id)}`),
    },
    search: (query) => json('POST', '/search', { body: query }),
    chat: (request) => json('POST', '/chat', { body: request }),
    uuid,
    connect: () =>
      createRealtime({
        url: socketUrl(options.baseUrl),
        session,
        ticket: async () => (await json<Ticket>('POST', '/ws/tickets')).ticket,
        socket: options.socket ?? hostSocket,
        codec: options.codec ?? jsonCodec,
        clock,
        random: options.random ?? Math.random,
        uuid,
      }),
  };
}

function socketUrl(baseUrl: string): string {
  const base = new URL(baseUrl === '' ? globalThis.location.href : baseUrl);
  const path = baseUrl === '' ? '' : base.pathname.replace(/\/+$/, '');
  return `${base.protocol === 'https:' ? 'wss:' : 'ws:'}//${base.host}${path}/ws`;
}

/** `crypto.randomUUID` exists only on secure origins; a page on plain HTTP has to do without. */
function randomUuid(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
