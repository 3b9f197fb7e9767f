/** DreamHub as a server of the Model Context Protocol, seen by the protocol's own client. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { type OpenAiHub, rejection, startOpenAiHub } from '../support/openai-hub.ts';
import type { Person } from '../support/person.ts';

let hub: OpenAiHub;
let owner: Person;
let shared: string;
let secret: string;
const clients: Client[] = [];

async function connect(bearer: string): Promise<Client> {
  const client = new Client({ name: 'a test', version: '0' });
  const headers = { authorization: `Bearer ${bearer}` };
  const transport = new StreamableHTTPClientTransport(new URL(`${hub.url}/mcp`), { requestInit: { headers } });
  // Its optional session makes the SDK's own class another type than its interface, where absent is not undefined.
  await client.connect(transport as Parameters<Client['connect']>[0]);
  clients.push(client);
  return client;
}

interface Result {
  id: string;
  title: string;
  url: string;
  text: string;
}

/** What a tool answered, which it says twice. */
async function call(client: Client, name: string, given: Record<string, unknown>): Promise<Record<string, unknown>> {
  const { content, structuredContent } = await client.callTool({ name, arguments: given });
  const [first] = content as { type: string; text: string }[];
  expect(JSON.parse(first?.text ?? '')).toEqual(structuredContent);
  return structuredContent as Record<string, unknown>;
}

const find = async (client: Client, query: string) => (await call(client, 'search', { query }))['results'] as Result[];

beforeAll(async () => {
  hub = await startOpenAiHub();
  owner = await hub.register();
  shared = await hub.learn(owner, 'The ferry to the island leaves at noon.', 'ferry.txt', { title: 'The ferry' });
  secret = await hub.learn(owner, 'The ferry captain is called Ignatius.', 'captain.txt', { visibility: 'private' });
}, 120_000);
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await hub?.stop();
}, 120_000);

describe('a client', () => {
  test('is offered search and fetch, and finds and reads what it may see', async () => {
    const client = await connect(owner.token);
    expect(client.getServerVersion()?.name).toBe('dreamhub');
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['search', 'fetch']);
    const found = await find(client, 'When does the ferry leave?');
    expect(new Set(found.map(({ id }) => id))).toEqual(new Set([shared, secret]));
    const ferry = found.find(({ id }) => id === shared);
    expect(ferry).toMatchObject({ title: 'The ferry', text: expect.stringContaining('noon') });
    const original = await fetch(ferry?.url ?? '', { headers: { authorization: `Bearer ${owner.token}` } });
    expect(await original.text()).toContain('leaves at noon');
    expect(await call(client, 'fetch', { id: shared })).toMatchObject({
      id: shared,
      title: 'The ferry',
      text: expect.stringContaining('The ferry to the island leaves at noon.'),
      url: ferry?.url,
      metadata: { filename: 'ferry.txt' },
    });
  });

  test('sees neither another tenant’s documents nor another user’s private ones', async () => {
    const stranger = await connect((await hub.register()).token);
    expect(await find(stranger, 'When does the ferry leave?')).toEqual([]);
    const colleague = await connect(await hub.join(owner, 'viewer'));
    expect((await find(colleague, 'Who is the captain of the ferry?')).map(({ id }) => id)).toEqual([shared]);
    for (const [client, id] of [
      [stranger, shared],
      [stranger, secret],
      [colleague, secret],
    ] as const) {
      const refused = await client.callTool({ name: 'fetch', arguments: { id } });
      expect(refused).toMatchObject({ isError: true });
      expect(JSON.stringify(refused)).not.toMatch(/noon|Ignatius/);
    }
  });

  test('is told what is wrong with its calls', async () => {
    const client = await connect(owner.token);
    for (const id of ['nonsense', crypto.randomUUID()]) {
      expect(await client.callTool({ name: 'fetch', arguments: { id } })).toMatchObject({ isError: true });
    }
    expect(await rejection(client.callTool({ name: 'search', arguments: {} }))).toMatchObject({ code: -32_602 });
    expect(await rejection(client.callTool({ name: 'erase', arguments: {} }))).toMatchObject({ code: -32_602 });
  });

  test('needs credentials that may read', async () => {
    expect(await (await connect(await hub.key(owner, 'read'))).listTools()).toHaveProperty('tools');
    expect(String(await rejection(connect('nobody')))).toContain('credentials');
    expect(String(await rejection(connect(await hub.key(owner, 'chat'))))).toContain('scope read');
  });
});

test('what is no message of the protocol is refused', async () => {
  const headers = {
    authorization: `Bearer ${owner.token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };
  const post = (body: string) => fetch(`${hub.url}/mcp`, { method: 'POST', headers, body });
  expect((await post('{"jsonrpc": "1.0"}')).status).toBe(422);
  expect((await post('{"broken')).status).toBe(400);
  expect((await fetch(`${hub.url}/mcp`, { headers })).status).toBe(405);
});
