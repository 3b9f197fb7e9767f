/** Messages of an mbox file. Each is known by its Message-ID, or by its bytes where it has none. */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { mboxReader } from 'mbox-reader';
import type { SourceContent, SourceItem, SourceSession } from '../../contracts/index.ts';
import { isStorable } from '../../kernel/text/storable.ts';
import { separated } from '../mbox-separators.ts';
import { SourceError } from './source-error.ts';

const MAX_KEY_BYTES = 2_000;
const MOST_MESSAGES = 100_000;

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** One message is in memory at a time: each is fetched, if it is, before the next one is read. */
export function openMbox(body: AsyncIterable<Uint8Array>, maxBytes: number): SourceSession {
  let current: { key: string; bytes: Buffer; headers: Map<string, string[]> } | undefined;

  return {
    async *list(): AsyncGenerator<SourceItem> {
      const seen = new Map<string, number>();
      for await (const { content, headers } of mboxReader(Readable.from(separated(body, maxBytes)))) {
        const hash = createHash('sha256').update(content).digest('hex');
        const name = headers.get('message-id')?.[0] ?? hash;
        const known = name !== '' && Buffer.byteLength(name) < MAX_KEY_BYTES - 20 && isStorable(name) ? name : hash;
        const times = (seen.get(known) ?? 0) + 1;
        seen.set(known, times);
        if (seen.size > MOST_MESSAGES) throw new SourceError(`The file has more than ${MOST_MESSAGES} messages.`);
        const key = times === 1 ? known : `${known} ${times}`;
        current = { key, bytes: content, headers };
        yield { key, fingerprint: hash };
      }
      if (seen.size === 0) throw new SourceError('The file has no messages: it is no mbox.');
    },

    async fetch({ key, fingerprint }): Promise<SourceContent | 'gone'> {
      if (current?.key !== key) return 'gone';
      const { bytes } = current;
      if (bytes.length > maxBytes) throw new SourceError(`It is larger than the ${maxBytes} bytes allowed.`);
      // Its subject is decoded with the rest of the message, when it is read.
      return { body: once(bytes), filename: 'message.eml', fingerprint };
    },
  };
}
