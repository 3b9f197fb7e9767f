/** A neighbour's endpoint for webhooks, whose signatures an independent implementation of the standard verifies. */
import OpenAI from 'openai';

export interface Posted {
  readonly id: string;
  readonly body: string;
}

/**
 * `answer` is asked for each request's status, once it is among those received; what could not be trusted is kept in
 * `untrusted` beside. The secret is known only once the address has been registered.
 */
export function receiveWebhooks(answer: (posted: Posted) => number = () => 204) {
  const untrusted: unknown[] = [];
  const received: Posted[] = [];
  let secret = '';
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      const posted = { id: request.headers.get('webhook-id') ?? '', body: await request.text() };
      await new OpenAI({ apiKey: 'none' }).webhooks
        .verifySignature(posted.body, request.headers, secret)
        .catch((error: unknown) => untrusted.push(error));
      received.push(posted);
      return new Response(null, { status: answer(posted) });
    },
  });
  return {
    url: server.url.href,
    received: received as readonly Posted[],
    untrusted: untrusted as readonly unknown[],
    trust(shared: string): void {
      secret = shared;
    },
    stop: () => server.stop(true),
  };
}
