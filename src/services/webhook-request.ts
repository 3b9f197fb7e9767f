/**
 * Requests to addresses that tenants name. The name is resolved once, every address that it has must be public, and the
 * connection goes to one of those: a name that means something else a moment later changes nothing. Redirects are answers
 * like any other and are not followed; of an answer only the status and `Retry-After` are
 * looked at.
 */
import { lookup } from 'node:dns/promises';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { Clock } from '../kernel/clock.ts';
import { messageOf } from '../kernel/errors.ts';
import { isPublicAddress } from '../kernel/public-address.ts';

interface Address {
  address: string;
  family: number;
}

/** Why nothing was answered, in words that may be shown to the tenant. */
export class NotSent extends Error {
  override readonly name = 'NotSent';
}

export interface WebhookAnswer {
  status: number;
  /** When the receiver wants to be asked again, in milliseconds from now. */
  retryAfterMs: number | undefined;
}

export interface WebhookRequests {
  /** Throws `NotSent` for an address that may not be called. A name that cannot be resolved just now may be. */
  assertAllowed(url: string): Promise<void>;
  /** Rejects with `NotSent`, or with the signal's reason. */
  post(request: {
    url: string;
    headers: Record<string, string>;
    body: string;
    signal: AbortSignal;
  }): Promise<WebhookAnswer>;
}

export interface WebhookRequestsOptions {
  /** Addresses of our own network are fine: for an installation on a laptop. */
  allowPrivate: boolean;
  clock: Pick<Clock, 'after' | 'now'>;
  timeoutMs?: number;
  resolve?(hostname: string): Promise<Address[]>;
  /** Certificates that are trusted beside the system's. */
  ca?: string;
}

/** Seconds or a date (RFC 9110, 10.2.3). */
function retryAfterOf(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(value)) return Number(value) * 1_000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

const resolveByDns = (hostname: string): Promise<Address[]> => lookup(hostname, { all: true });

export function createWebhookRequests(options: WebhookRequestsOptions): WebhookRequests {
  const { allowPrivate, clock, timeoutMs = 10_000, resolve = resolveByDns, ca } = options;

  /** None where the name cannot be resolved just now. */
  async function addressesOf(url: URL): Promise<Address[]> {
    if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new NotSent('Only http and https are called.');
    if (url.username !== '' || url.password !== '') throw new NotSent('The address must not hold credentials.');
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const family = isIP(host);
    // Why it cannot be resolved would tell of the network that we are in.
    const found = family > 0 ? [{ address: host, family }] : await resolve(host).catch(() => []);
    if (!allowPrivate && !found.every(({ address }) => isPublicAddress(address))) {
      throw new NotSent('The host is not on the public internet.');
    }
    return found;
  }

  return {
    async assertAllowed(url) {
      if (!URL.canParse(url)) throw new NotSent('This is no URL.');
      await addressesOf(new URL(url));
    },

    async post({ url, headers, body, signal }) {
      const target = new URL(url);
      const addresses = await addressesOf(target);
      if (addresses.length === 0) throw new NotSent('The name of the host cannot be resolved.');
      signal.throwIfAborted();
      const pinned: LookupFunction = (_hostname, { all }, callback) => {
        const [first] = addresses;
        if (all) callback(null, addresses);
        else callback(null, first?.address ?? '', first?.family ?? 4);
      };
      const { promise, resolve: answered, reject } = Promise.withResolvers<WebhookAnswer>();
      const send = target.protocol === 'https:' ? requestHttps : requestHttp;
      const request = send(
        target,
        {
          method: 'POST',
          headers: { ...headers, 'content-length': Buffer.byteLength(body) },
          // A connection of its own each time: one that is kept might lead to where the name no longer points.
          agent: false,
          lookup: pinned,
          ...(ca !== undefined && { ca }),
        },
        (response) => {
          const { statusCode: status = 0, headers } = response;
          answered({ status, retryAfterMs: retryAfterOf(headers['retry-after'], clock.now()) });
          response.on('error', () => undefined);
          response.destroy();
        },
      );
      const onAbort = () => {
        reject(signal.reason);
        request.destroy();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const cancelTimeout = clock.after(timeoutMs, () => {
        reject(new NotSent(`No answer within ${timeoutMs / 1_000} s.`));
        request.destroy();
      });
      request.on('error', (error) => reject(new NotSent(`The request failed: ${messageOf(error)}`)));
      request.end(body);
      try {
        return await promise;
      } finally {
        cancelTimeout();
        signal.removeEventListener('abort', onAbort);
      }
    },
  };
}
