/** Where a request comes from, for counting attempts and for deciding what only this machine may see. */
import type { Origin } from '../services/identity.ts';
import { stateOf } from './request-state.ts';

/** The part of Bun's server that knows the peer. */
interface PeerSource {
  requestIP(request: Request): { address: string } | null;
}

/** The peer as the socket has it: `X-Forwarded-For` is whatever its sender wrote, so it is not believed. */
export function originOf(request: Request, server: PeerSource | null): Origin {
  return { ip: server?.requestIP(request)?.address ?? '', traceId: stateOf(request).traceId };
}

/** True for a peer on this machine that speaks for itself; what a proxy passes on comes from elsewhere. */
export function isLoopback(request: Request, server: PeerSource | null): boolean {
  if (request.headers.has('x-forwarded-for') || request.headers.has('forwarded')) return false;
  const { ip } = originOf(request, server);
  return ip === '::1' || /^(::ffff:)?127\./.test(ip);
}

/** Where the caller reached us, as it says itself: `https://host`, '' where it does not. For answers to that caller alone. */
export function addressOf(request: Request): string {
  if (!URL.canParse(request.url)) return '';
  const { protocol, host } = new URL(request.url);
  // What ends TLS in front of us says so; who lies about it gets a link that does not work.
  const secure = protocol === 'https:' || request.headers.get('x-forwarded-proto') === 'https';
  return `${secure ? 'https' : 'http'}://${host}`;
}
