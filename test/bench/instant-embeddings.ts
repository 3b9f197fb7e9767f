/**
 * An OpenAI-compatible server that answers embeddings at once, in base64: what a provider would cost is left out, what
 * receiving its answers costs is not. `DIMENSIONS` and the vectors to choose from are made at the start; the same text has
 * the same vector. Its address is told to whoever started it.
 */
const dimensions = Number(process.env['DIMENSIONS'] ?? 1536);
const VECTORS = 2_048;

/** Random directions: as far from each other as vectors of so many dimensions are. The end of a reply's item, in bytes. */
const rendered = Array.from({ length: VECTORS }, () => {
  const vector = Float32Array.from({ length: dimensions }, () => Math.random() + Math.random() - 1);
  const norm = Math.hypot(...vector);
  const encoded = Buffer.from(vector.map((value) => value / norm).buffer).toString('base64');
  return Buffer.from(`,"embedding":"${encoded}"}`);
});
const HEAD = Buffer.from('{"object":"list","model":"instant","data":[');
const TAIL = Buffer.from('],"usage":{"prompt_tokens":1,"total_tokens":1}}');

/** The same text has the same vector. A provider's own time is no part of what is measured, so it is as little as it can be. */
function reply(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const parts: Buffer[] = [HEAD];
  for (const [index, text] of texts.entries()) {
    parts.push(Buffer.from(`${index === 0 ? '' : ','}{"object":"embedding","index":${index}`));
    const vector = rendered[Bun.hash.crc32(text) % VECTORS];
    if (vector) parts.push(vector);
  }
  parts.push(TAIL);
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  idleTimeout: 0,
  async fetch(request) {
    const { input } = (await request.json()) as { input: string | string[] };
    const answer = reply(typeof input === 'string' ? [input] : input);
    return new Response(answer, { headers: { 'content-type': 'application/json' } });
  },
});
process.send?.({ url: `http://127.0.0.1:${server.port}/v1` });
