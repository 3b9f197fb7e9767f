/** Objects of a bucket, of Amazon's or of anything that speaks its protocol. An object's ETag says whether it is new. */
import { type Static, Type } from '@sinclair/typebox';
import { AwsClient } from 'aws4fetch';
import { SaxesParser } from 'saxes';
import type { SourceItem, SourceProvider, SourceRun, SourceSession } from '../../contracts/index.ts';
import { bytesOf, type HttpAnswer, refusal, type SourceHttp, unavailable } from './http.ts';
import { HttpUrl } from './settings.ts';
import { SourceError, SourceUnavailable } from './source-error.ts';

const Settings = Type.Object({
  bucket: Type.String({ pattern: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$' }),
  prefix: Type.Optional(Type.String({ maxLength: 900, description: 'Only keys that begin like this' })),
  region: Type.Optional(Type.String({ pattern: '^[a-z0-9-]{1,40}$', default: 'us-east-1' })),
  endpoint: Type.Optional(HttpUrl('Absent: Amazon’s')),
  access_key_id: Type.String({ minLength: 1, maxLength: 200 }),
  secret_access_key: Type.String({ minLength: 1, maxLength: 500, description: 'Encrypted; never shown' }),
});

const MAX_LIST_BYTES = 16 * 1024 * 1024;
const MAX_KEY_BYTES = 2_000;

interface Listing {
  objects: { key: string; etag: string; size: number }[];
  next: string | null;
}

/** Names come encoded as in a form where the server says so: XML has no way to write some of them. */
const decodedKey = (key: string): string => decodeURIComponent(key.replaceAll('+', ' '));

/** An answer of `ListObjectsV2`. What is none names nothing, and would have all objects removed. */
function readListing(xml: string): Listing {
  const listing: Listing = { objects: [], next: null };
  const unreadable = (cause?: unknown) => new SourceUnavailable('The list of objects cannot be read.', { cause });
  let root: string | undefined;
  let isEncoded = false;
  let fields: Record<string, string> = {};
  let text = '';
  const parser = new SaxesParser();
  parser.on('opentag', ({ name }) => {
    root ??= name;
    if (name === 'Contents') fields = {};
    text = '';
  });
  parser.on('text', (part) => {
    text += part;
  });
  parser.on('closetag', ({ name }) => {
    if (name === 'Key' || name === 'ETag' || name === 'Size') fields[name] = text;
    if (name === 'NextContinuationToken') listing.next = text;
    if (name === 'EncodingType') isEncoded = text === 'url';
    if (name !== 'Contents') return;
    const { Key: key = '', ETag: etag = '', Size: size = '0' } = fields;
    listing.objects.push({ key, etag, size: Number(size) });
  });
  parser.on('error', (cause) => {
    throw unreadable(cause);
  });
  parser.write(xml).close();
  if (root !== 'ListBucketResult') throw unreadable();
  if (!isEncoded) return listing;
  try {
    return { ...listing, objects: listing.objects.map((object) => ({ ...object, key: decodedKey(object.key) })) };
  } catch (cause) {
    throw unreadable(cause);
  }
}

export function createS3Provider({ http }: { http: SourceHttp }): SourceProvider {
  async function open({ settings, maxBytes, signal }: SourceRun): Promise<SourceSession> {
    const { bucket, prefix = '', region = 'us-east-1', endpoint, ...keys } = settings as Static<typeof Settings>;
    const base = endpoint
      ? `${endpoint.replace(/\/+$/, '')}/${bucket}`
      : `https://${bucket}.s3.${region}.amazonaws.com`;
    const signer = new AwsClient({
      accessKeyId: keys.access_key_id,
      secretAccessKey: keys.secret_access_key,
      service: 's3',
      region,
    });

    async function get(url: string): Promise<HttpAnswer> {
      // Only the signature is taken: the request itself goes where its host was looked up and checked.
      const signed = await signer.sign(url);
      const headers = Object.fromEntries(signed.headers);
      return http.get({
        url: signed.url,
        headers: { ...headers, 'accept-encoding': 'identity' },
        signal,
        onRedirect() {
          throw new SourceError('The bucket is in another region: name its region or its endpoint.');
        },
      });
    }

    async function page(token: string | null): Promise<Listing> {
      const query = new URLSearchParams({ 'list-type': '2', 'max-keys': '1000', 'encoding-type': 'url', prefix });
      if (token !== null) query.set('continuation-token', token);
      const answer = await get(`${base}/?${query.toString().replaceAll('+', '%20')}`);
      if (answer.status !== 200) {
        answer.discard();
        throw unavailable(answer);
      }
      return readListing((await bytesOf(answer, MAX_LIST_BYTES)).toString('utf8'));
    }

    return {
      async *list(): AsyncGenerator<SourceItem> {
        for (let token: string | null | undefined; token !== null; ) {
          const { objects, next } = await page(token ?? null);
          for (const { key, etag, size } of objects) {
            if (key.endsWith('/') || size === 0 || Buffer.byteLength(key) > MAX_KEY_BYTES) continue;
            yield { key, fingerprint: etag };
          }
          token = next;
        }
      },

      async fetch({ key, fingerprint }) {
        // An address would lose these parts and name another object.
        if (key.split('/').some((part) => part === '.' || part === '..')) {
          throw new SourceError('An object whose name has "." or ".." between slashes cannot be asked for.');
        }
        const answer = await get(`${base}/${key.split('/').map(encodeURIComponent).join('/')}`);
        if (answer.status === 404) {
          answer.discard();
          return 'gone';
        }
        if (answer.status !== 200) {
          answer.discard();
          throw refusal(answer);
        }
        const filename = key.split('/').at(-1) ?? key;
        return { body: answer.body(maxBytes), filename, metadata: { bucket, key }, fingerprint };
      },
    };
  }

  return { kind: 's3', settings: Settings, secrets: ['secret_access_key'], open };
}
