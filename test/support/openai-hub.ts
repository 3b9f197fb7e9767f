/** A whole DreamHub behind OpenAI's own client, unmodified but for its base URL; its models are an imitation's. */
import OpenAI from 'openai';
import { startDreamhub } from './dreamhub.ts';
import { startFakeOpenAi } from './fake-openai.ts';
import { type Person, register } from './person.ts';

export type OpenAiHub = Awaited<ReturnType<typeof startOpenAiHub>>;

export async function startOpenAiHub() {
  const fake = startFakeOpenAi();
  const hub = await startDreamhub('all', {
    OPENAI_BASE_URL: fake.url,
    OPENAI_API_KEYS: 'sk-one',
    CHAT_MODEL: 'fake-chat',
    EMBEDDING_MODEL: 'fake-embedding',
  });

  /** Retries nothing, so that a test sees the first answer. */
  const clientOf = (bearer: string | Person) =>
    new OpenAI({
      apiKey: typeof bearer === 'string' ? bearer : bearer.token,
      baseURL: `${hub.url}/v1`,
      maxRetries: 0,
    });

  return {
    url: hub.url,
    fake,
    clientOf,
    register: () => register(hub.url),
    /** An API key with some scopes. */
    async key(person: Person, ...scopes: string[]): Promise<string> {
      const { body } = await person.call<{ key: string }>('POST', '/api-keys', { name: scopes.join(), scopes });
      return body.key;
    },
    /** Uploads texts and waits until they are searchable. */
    async learn(person: Person, text: string, filename: string, fields: Record<string, string> = {}): Promise<string> {
      const socket = await person.socket();
      try {
        return (await person.learn(socket, text, filename, fields)).document_id;
      } finally {
        socket.close();
      }
    },
    /** Another user of the same tenant. */
    async join(owner: Person, role: string): Promise<string> {
      const email = `${crypto.randomUUID()}@example.com`;
      const { body } = await owner.call<{ invite: string }>('POST', '/members', { email, role });
      const response = await fetch(`${hub.url}/api/v1/auth/register`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ tenant: owner.tenant, email, password: owner.password, invite: body.invite }),
      });
      const session = (await response.json()) as { access_token: string };
      return session.access_token;
    },
    async stop() {
      await hub.stop();
      await fake.stop();
    },
  };
}

/** What a promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'it was not refused',
    (error: unknown) => error,
  );
}
