/**
 * An S3 server in memory: the part of the protocol that a blob store needs (objects, ranges, multipart uploads), with
 * the errors that matter. It checks that requests are signed with the right key id, not the signature itself.
 */
export interface S3Stub {
  readonly endpoint: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly objects: Map<string, Uint8Array>;
  /** Uploads begun and neither completed nor aborted. */
  readonly openUploads: number;
  /** Requests by method, e.g. `PUT part`, in order. */
  readonly log: string[];
  /** Every request fails with this status from now on; `undefined` ends it. */
  fail(status: number | undefined): void;
  stop(): Promise<void>;
}

export function startS3Stub(): S3Stub {
  const bucket = 'documents';
  const accessKeyId = 'test-key';
  const objects = new Map<string, Uint8Array>();
  const uploads = new Map<string, Map<number, Uint8Array>>();
  const log: string[] = [];
  let failure: number | undefined;

  async function handle(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (!request.headers.get('authorization')?.includes(`Credential=${accessKeyId}/`))
      return error(403, 'AccessDenied');
    if (failure !== undefined) return error(failure, failure === 503 ? 'SlowDown' : 'InternalError');
    const key = decodeURIComponent(url.pathname).replace(`/${bucket}/`, '');
    const upload = url.searchParams.get('uploadId');
    const part = url.searchParams.get('partNumber');
    log.push(`${request.method}${part ? ' part' : upload ? ' upload' : ''}`);
    if (request.method === 'GET' && url.searchParams.get('list-type') === '2') return list(url.searchParams);
    if (request.method === 'POST' && url.searchParams.has('uploads')) {
      const id = crypto.randomUUID();
      uploads.set(id, new Map());
      return xml(
        `<InitiateMultipartUploadResult><Bucket>${bucket}</Bucket><Key>${key}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    if (upload) return multipart(request, key, upload, Number(part));
    if (request.method === 'PUT') {
      objects.set(key, await request.bytes());
      return new Response(null, { headers: { etag: '"put"' } });
    }
    if (request.method === 'DELETE') {
      objects.delete(key);
      return new Response(null, { status: 204 });
    }
    const bytes = objects.get(key);
    if (!bytes) return request.method === 'HEAD' ? new Response(null, { status: 404 }) : error(404, 'NoSuchKey');
    if (request.method === 'HEAD') {
      return new Response(null, {
        headers: { 'content-length': String(bytes.length), etag: '"x"', 'last-modified': new Date(0).toUTCString() },
      });
    }
    return body(bytes, request.headers.get('range'));
  }

  /** Pages of two, so that whoever lists must go on. */
  function list(query: URLSearchParams): Response {
    const prefix = query.get('prefix') ?? '';
    const after = decodeURIComponent(query.get('continuation-token') ?? '');
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).toSorted();
    const page = keys.slice(0, 2);
    const contents = page.map((key) => {
      const bytes = objects.get(key) ?? new Uint8Array();
      const name = key.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
      return `<Contents><Key>${name}</Key><ETag>&quot;${Bun.MD5.hash(bytes, 'hex')}&quot;</ETag><Size>${bytes.length}</Size></Contents>`;
    });
    const next =
      keys.length > page.length
        ? `<NextContinuationToken>${encodeURIComponent(page.at(-1) ?? '')}</NextContinuationToken>`
        : '';
    return xml(`<ListBucketResult>${contents.join('')}${next}</ListBucketResult>`);
  }

  async function multipart(request: Request, key: string, id: string, part: number): Promise<Response> {
    const parts = uploads.get(id);
    if (!parts) return error(404, 'NoSuchUpload');
    if (request.method === 'PUT') {
      parts.set(part, await request.bytes());
      return new Response(null, { headers: { etag: `"part-${part}"` } });
    }
    uploads.delete(id);
    if (request.method === 'DELETE') return new Response(null, { status: 204 });
    const ordered = [...parts].toSorted(([a], [b]) => a - b).map(([, bytes]) => bytes);
    if (ordered.slice(0, -1).some(({ length }) => length < 5 * 1024 * 1024)) return error(400, 'EntityTooSmall');
    objects.set(key, Buffer.concat(ordered));
    return xml(`<CompleteMultipartUploadResult><Key>${key}</Key><ETag>"done"</ETag></CompleteMultipartUploadResult>`);
  }

  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', maxRequestBodySize: 2 ** 30, fetch: handle });
  return {
    endpoint: server.url.origin,
    bucket,
    accessKeyId,
    secretAccessKey: 'test-secret',
    objects,
    log,
    get openUploads() {
      return uploads.size;
    },
    fail(status) {
      failure = status;
    },
    stop: () => server.stop(true),
  };
}

function body(bytes: Uint8Array, range: string | null): Response {
  const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? '');
  if (!match) return new Response(bytes.slice());
  const start = Number(match[1]);
  const end = Math.min(bytes.length, match[2] ? Number(match[2]) + 1 : bytes.length);
  if (start >= bytes.length) return error(416, 'InvalidRange');
  return new Response(bytes.slice(start, end), {
    status: 206,
    headers: { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` },
  });
}

function error(status: number, code: string): Response {
  return xml(`<Error><Code>${code}</Code><Message>${code}</Message></Error>`, status);
}

function xml(content: string, status = 200): Response {
  return new Response(`<?xml version="1.0" encoding="UTF-8"?>${content}`, {
    status,
    headers: { 'content-type': 'application/xml' },
  });
}
