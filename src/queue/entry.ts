/**
 * A job as a stream entry. The lane and the tenant are the stream's; the tenant stands in the entry all the same, so that
 * an entry in a foreign stream is recognised instead of run in the wrong tenant's name. Every entry has the same fields in
 * the same order, which Redis then stores once.
 */
import { type Job, type Lane, PAYLOAD_VERSION } from '../contracts/index.ts';
import { isUuid } from '../kernel/ids.ts';
import type { Keys } from '../redis/keys.ts';

/** Fields and values in turn. `w` is the tenant's weight, read by the take script. */
export function encodeJob(job: Job, weight: number): string[] {
  return ['v', String(job.v), 'w', String(weight), 'tenant', job.tenantId, 'user', job.userId, 'id', job.id, 'trace', job.traceparent];
}

export type Fields = Readonly<Record<string, string>>;

export type Decoded =
  | { type: 'job'; job: Job }
  /** Written by a newer version of this program, which knows what it means. */
  | { type: 'newer'; version: number }
  | { type: 'undecodable'; problem: string };

export function decodeJob(keys: Keys, lane: Lane, stream: string, fields: Fields): Decoded {
  const { v = '', tenant = '', user = '', id = '', trace = '' } = fields;
  if (!/^[1-9]\d{0,8}$/.test(v)) return { type: 'undecodable', problem: `its version is "${v}"` };
  const version = Number(v);
  if (version > PAYLOAD_VERSION) return { type: 'newer', version };
  for (const [name, value] of Object.entries({ tenant, user, id })) {
    if (!isUuid(value)) return { type: 'undecodable', problem: `its ${name} is no UUID` };
  }
  if (keys.stream(lane, tenant) !== stream) return { type: 'undecodable', problem: 'it belongs into another stream' };
  return { type: 'job', job: { v: version, lane, tenantId: tenant, userId: user, id, traceparent: trace } };
}
