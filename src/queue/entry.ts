/**
 * A job as a stream entry. The lane and the tenant are the stream's; the tenant stands in the entry all the same, so that
 * an entry in a foreign stream is recognised instead of run in the wrong tenant's name.
 *
 * An entry is one field `job` with `version weight tenant user id traceparent`, apart by single spaces; a newer version
 * begins with its number, too. A field for each was measured: scripts take half as long again, because Lua converts them all.
 *
 * Versions: a newer one is left to workers that know it; an older one is brought up to date step by step before it is read.
 * So a new version is deployed in any order, and back again: `PAYLOAD_VERSION` grows together with an entry in `UPGRADES`.
 */
import { type Job, type Lane, PAYLOAD_VERSION } from '../contracts/index.ts';
import { isUuid } from '../kernel/ids.ts';
import type { Keys } from '../redis/keys.ts';

/** `weight` is read by the take script. */
export function encodeJob({ v, tenantId, userId, id, traceparent }: Job, weight: number): string {
  return [v, weight, tenantId, userId, id, traceparent.replaceAll(' ', '')].join(' ');
}

/** The id in a payload of this version; '' where there is none. */
export function jobIdOf(payload: string): string {
  return payload.split(' ')[4] ?? '';
}

/** The parts of a payload after its version, of one version, as the next version has them. */
type Upgrade = (parts: readonly string[]) => string[];

/**
 * From the version that is the key to the one after it. It has an entry for every version before `PAYLOAD_VERSION`, and keeps
 * them for as long as streams may hold one. Weight, tenant and id keep their places: scripts read them.
 */
export const UPGRADES: Readonly<Record<number, Upgrade>> = {};

export interface PayloadVersions {
  current: number;
  upgrades: Readonly<Record<number, Upgrade>>;
}

const VERSIONS: PayloadVersions = { current: PAYLOAD_VERSION, upgrades: UPGRADES };

export type Decoded =
  | { type: 'job'; job: Job; weight: number }
  /** Written by a newer version of this program, which knows what it means. */
  | { type: 'newer'; version: number }
  | { type: 'undecodable'; problem: string };

export type DecodeJob = (stream: string, payload: string) => Decoded;

/** Streams whose tenant is remembered: finding out costs a hash, which is as much as all the rest of an entry. */
const KNOWN_STREAMS = 10_000;

/** `versions`: those of this program, but for tests of what a later one will do. */
export function createDecoder(keys: Keys, lane: Lane, versions: PayloadVersions = VERSIONS): DecodeJob {
  const tenants = new Map<string, string>();

  function belongs(stream: string, tenant: string): boolean {
    if (tenants.get(stream) === tenant) return true;
    if (keys.stream(lane, tenant) !== stream) return false;
    if (tenants.size >= KNOWN_STREAMS) tenants.clear();
    tenants.set(stream, tenant);
    return true;
  }

  return (stream, payload) => decode(lane, payload, versions, (tenant) => belongs(stream, tenant));
}

function decode(
  lane: Lane,
  payload: string,
  { current, upgrades }: PayloadVersions,
  belongs: (tenant: string) => boolean,
): Decoded {
  const [v = '', ...written] = payload.split(' ');
  if (!/^[1-9]\d{0,8}$/.test(v)) return { type: 'undecodable', problem: `its version is "${v.slice(0, 20)}"` };
  let parts = written;
  for (let version = Number(v); version !== current; version += 1) {
    if (version > current) return { type: 'newer', version };
    const upgrade = upgrades[version];
    if (!upgrade) return { type: 'undecodable', problem: `its version ${version} is not known any more` };
    parts = upgrade(parts);
  }
  const [weight, tenant = '', user = '', id = '', trace = '', ...more] = parts;
  for (const [name, value] of [
    ['tenant', tenant],
    ['user', user],
    ['id', id],
  ] as const) {
    if (!isUuid(value)) return { type: 'undecodable', problem: `its ${name} is no UUID` };
  }
  if (more.length > 0) return { type: 'undecodable', problem: 'it has more parts than its version' };
  if (!belongs(tenant)) return { type: 'undecodable', problem: 'it belongs into another stream' };
  const job = { v: current, lane, tenantId: tenant, userId: user, id, traceparent: trace };
  // As the take script has it, whatever an entry says.
  return { type: 'job', job, weight: Number(weight) > 0 ? Number(weight) : 1 };
}
