/**
 * An OpenAI-compatible server that answers embeddings at once, in base64: what a provider would cost is left out, what
 * receiving its answers costs is not. `DIMENSIONS` and the vectors to choose from are made at the start; the same text has
 * the same vector. Its address is told to whoever started it.
 */
const dimensions = Number(process.env['DIMENSIONS'] ?? 1536);
const VECTORS = 2_048;

/** Random directions: as far from each other as vectors of so many dimensions are. */
const encoded = Array.from({ length: VECTORS }, () => {
  const vector = Float32Array.from({ length: dimensions }, () => Math.random() + Math.random() - 1);
  const norm = Math.hypot(...vector);
  return Buffer.from(vector.map((value) => value / norm).buffer).toString('base64');
});

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  idleTimeout: 0,
  async fetch(request) {
    const body = (await request.json()) as { input: string | string[] };
    const texts = typeof body.input === 'string' ? [body.input] : body.input;
    const data = texts.map((text, index) => {
      const vector = encoded[Number(Bun.hash(text) % BigInt(VECTORS))] ?? '';
      return `{"object":"embedding","index":${index},"embedding":"${vector}"}`;
    });
    const answer = `{"object":"list","model":"instant","data":[${data.join(',')}],"usage":{"prompt_tokens":1,"total_tokens":1}}`;
    return new Response(answer, { headers: { 'content-type': 'application/json' } });
  },
});
process.send?.({ url: `http://127.0.0.1:${server.port}/v1` });
