/** Frames as bytes, in the two subprotocols. What comes in is one map; anything else is `null`, and nothing is coerced. */
import { Decoder, Encoder } from '@msgpack/msgpack';
import type { HubEvent, ServerFrame, Subprotocol } from '../contracts/index.ts';
import { isNestedDeeper, MAX_NESTING } from '../kernel/nesting.ts';
import { isPlausible } from './msgpack-shape.ts';

export interface Codec {
  readonly subprotocol: Subprotocol;
  encode(frame: Exclude<ServerFrame, { seq: number; ts: string }>): string | Uint8Array;
  /** An event is encoded once, however many readers it has on this node. */
  encodeEvent(event: HubEvent): string | Uint8Array;
  decode(data: string | Uint8Array): Record<string, unknown> | null;
}

const MAX_ITEMS = 10_000;

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

/** A map that is not nested too deeply. */
function asFrame(value: unknown): Record<string, unknown> | null {
  return isMap(value) && !isNestedDeeper(value, MAX_NESTING) ? value : null;
}

export function createJsonCodec(): Codec {
  return {
    subprotocol: 'dreamhub.v1.json',
    encode: (frame) => JSON.stringify(frame),
    encodeEvent: (event) => event.json,
    decode(data) {
      if (typeof data !== 'string') return null;
      try {
        return asFrame(JSON.parse(data));
      } catch {
        return null;
      }
    },
  };
}

export function createMsgpackCodec({ maxFrameBytes }: { maxFrameBytes: number }): Codec {
  const encoder = new Encoder({ ignoreUndefined: true });
  // What was announced is there (`msgpack-shape.ts`); these are a second wall.
  const decoder = new Decoder({
    maxStrLength: maxFrameBytes,
    maxBinLength: maxFrameBytes,
    maxArrayLength: MAX_ITEMS,
    maxMapLength: MAX_ITEMS,
    maxExtLength: 0,
  });
  const encoded = new WeakMap<HubEvent, Uint8Array>();
  return {
    subprotocol: 'dreamhub.v1.msgpack',
    encode: (frame) => encoder.encode(frame),
    encodeEvent(event) {
      const known = encoded.get(event);
      if (known) return known;
      const bytes = encoder.encode(JSON.parse(event.json));
      encoded.set(event, bytes);
      return bytes;
    },
    decode(data) {
      if (typeof data === 'string' || !isPlausible(data, MAX_NESTING)) return null;
      try {
        return asFrame(decoder.decode(data));
      } catch {
        return null;
      }
    },
  };
}

/** The first offered one that is ours; JSON where none is offered; `null` where only others are. */
export function negotiate(offered: string | null): Subprotocol | null {
  const names = (offered ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  if (names.length === 0) return 'dreamhub.v1.json';
  for (const name of names) if (name === 'dreamhub.v1.msgpack' || name === 'dreamhub.v1.json') return name;
  return null;
}
