/** Files that are served as they are: typed, tagged, compressed once, and under headers that let little happen. */

export interface StaticFile {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly type: string;
  readonly etag: string;
  /** The compressed bytes; `undefined` where compressing does not pay. Made at the first request for them. */
  gzip(): Uint8Array<ArrayBuffer> | undefined;
}

const COMPRESSIBLE = /^(text\/|application\/(javascript|json)|image\/svg)/;
const SMALL = 1_024;

export function createStaticFile(body: Uint8Array<ArrayBuffer>, type: string): StaticFile {
  let packed: Uint8Array<ArrayBuffer> | undefined;
  return {
    body,
    type,
    etag: `"${Bun.hash(body).toString(36)}"`,
    gzip() {
      if (body.length < SMALL || !COMPRESSIBLE.test(type)) return undefined;
      packed ??= Bun.gzipSync(body, { level: 9 });
      return packed;
    },
  };
}

/** A file whose name holds its content's hash may be kept for ever; any other is asked for again each time. */
export type Caching = 'immutable' | 'revalidate';

export function serveFile(
  file: StaticFile,
  request: Request,
  caching: Caching,
  extra: Record<string, string> = {},
): Response {
  const headers: Record<string, string> = {
    'content-type': file.type,
    'cache-control': caching === 'immutable' ? 'public, max-age=31536000, immutable' : 'no-cache',
    etag: file.etag,
    vary: 'accept-encoding',
    'x-content-type-options': 'nosniff',
    'cross-origin-resource-policy': 'same-origin',
    ...extra,
  };
  if (request.headers.get('if-none-match') === file.etag) return new Response(null, { status: 304, headers });
  const gzip = request.headers.get('accept-encoding')?.includes('gzip') ? file.gzip() : undefined;
  return gzip
    ? new Response(gzip, { headers: { ...headers, 'content-encoding': 'gzip' } })
    : new Response(file.body, { headers });
}

/**
 * Headers of a page. Scripts, styles and calls come from and go to this origin alone, nobody may frame it, and where it
 * sends people does not learn where they were.
 */
export function pageHeaders(policy: Record<string, string>): Record<string, string> {
  const directives: Record<string, string> = {
    'default-src': "'none'",
    'script-src': "'self'",
    'style-src': "'self'",
    'img-src': "'self' data:",
    'font-src': "'self'",
    'connect-src': "'self'",
    'form-action': "'self'",
    'object-src': "'none'",
    'base-uri': "'none'",
    'frame-ancestors': "'none'",
    ...policy,
  };
  return {
    'content-security-policy': Object.entries(directives)
      .map(([name, value]) => `${name} ${value}`)
      .join('; '),
    'referrer-policy': 'no-referrer',
    'x-frame-options': 'DENY',
    'cross-origin-opener-policy': 'same-origin',
    'permissions-policy': 'camera=(), microphone=(), geolocation=(), payment=(), usb=()',
  };
}
