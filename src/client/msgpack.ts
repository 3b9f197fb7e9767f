/** The binary subprotocol. A file of its own, so that a bundle which does not name it does not carry it. */
import { Decoder, Encoder } from '@msgpack/msgpack';
import { asFrame, type Codec } from './codec.ts';

/** Without limits five bytes make the decoder reserve hundreds of megabytes. */
const LIMIT = 16 * 1024 * 1024;

export function createMsgpackCodec(): Codec {
  const encoder = new Encoder({ ignoreUndefined: true });
  const decoder = new Decoder({
    maxStrLength: LIMIT,
    maxBinLength: LIMIT,
    maxArrayLength: 100_000,
    maxMapLength: 10_000,
    maxExtLength: 0,
  });
  return {
    subprotocol: 'dreamhub.v1.msgpack',
    encode: (frame) => new Uint8Array(encoder.encode(frame)),
    decode(data) {
      const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data instanceof Uint8Array ? data : undefined;
      if (!bytes) return undefined;
      try {
        return asFrame(decoder.decode(bytes));
      } catch {
        return undefined;
      }
    },
  };
}
