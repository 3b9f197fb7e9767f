/**
 * Where a source may lead: its host's addresses are looked up once, all of them must be public, and connections go to those
 * very addresses, so that a name that means something else a moment later changes nothing.
 */
import { lookup } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import { isPublicAddress } from '../../kernel/public-address.ts';
import { SourceError } from './source-error.ts';

export interface Address {
  address: string;
  family: number;
}

export interface ReachOptions {
  /** Addresses of our own network are fine: for an installation whose users may read all of it. */
  allowPrivate: boolean;
  resolve?(hostname: string): Promise<Address[]>;
}

export interface Reach {
  /** The addresses of a host, at least one; throws `SourceError` where it may not be called or cannot be found. */
  addressesOf(host: string): Promise<[Address, ...Address[]]>;
}

const resolveByDns = (hostname: string): Promise<Address[]> => lookup(hostname, { all: true });

export function createReach({ allowPrivate, resolve = resolveByDns }: ReachOptions): Reach {
  return {
    async addressesOf(name) {
      const host = name.replace(/^\[(.*)\]$/, '$1');
      const family = isIP(host);
      // Why it cannot be resolved would tell of the network that we are in.
      const found = family > 0 ? [{ address: host, family }] : await resolve(host).catch(() => []);
      const [first, ...more] = found;
      if (!first) throw new SourceError(`The name ${host} cannot be resolved.`);
      if (!allowPrivate && !found.every(({ address }) => isPublicAddress(address))) {
        throw new SourceError(`The host ${host} is not on the public internet.`);
      }
      return [first, ...more];
    },
  };
}

/** Answers every look-up with what was looked at. */
export function pinned(addresses: readonly [Address, ...Address[]]): LookupFunction {
  return (_hostname, { all }, callback) => {
    if (all) callback(null, [...addresses]);
    else callback(null, addresses[0].address, addresses[0].family);
  };
}
