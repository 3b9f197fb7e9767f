/** How frames become bytes. Text frames of JSON need nothing; `msgpack.ts` has the binary one, for those who want it. */
import type { ClientFrame, ServerFrame, Subprotocol } from '../contracts/index.ts';

export interface Codec {
  readonly subprotocol: Subprotocol;
  encode(frame: ClientFrame): string | Uint8Array<ArrayBuffer>;
  /** The frame, or `undefined` for what is not a map with a `type`. */
  decode(data: unknown): ServerFrame | undefined;
}

export const jsonCodec: Codec = {
  subprotocol: 'dreamhub.v1.json',
  encode: (frame) => JSON.stringify(frame),
  decode(data) {
    if (typeof data !== 'string') return undefined;
    try {
      return asFrame(JSON.parse(data));
    } catch {
      return undefined;
    }
  },
};

export function asFrame(value: unknown): ServerFrame | undefined {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
    ? (value as ServerFrame)
    : undefined;
}
