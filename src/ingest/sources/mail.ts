/** Mail: from mailboxes over IMAP, or from an mbox file by its address or as it was sent to the source. */
import { type Static, Type } from '@sinclair/typebox';
import type { SourceProvider } from '../../contracts/index.ts';
import { conditionOf, type SourceHttp, unavailable, validatorOf } from './http.ts';
import { ImapSettings, openImap } from './mail-imap.ts';
import { openMbox } from './mail-mbox.ts';
import type { Reach } from './reach.ts';
import { HttpUrl } from './settings.ts';
import { SourceError } from './source-error.ts';

const Settings = Type.Object({
  ...ImapSettings,
  mbox_url: Type.Optional(HttpUrl('Where an mbox file is')),
  mbox_file: Type.Optional(Type.Boolean({ description: 'An mbox file is sent to `PUT /sources/{id}/file`' })),
});

async function* none(): AsyncGenerator<Uint8Array> {}

/** Of a whole file of messages. */
const MAX_MBOX_BYTES = 4 * 1024 ** 3;

export interface MailOptions {
  http: SourceHttp;
  reach: Reach;
  /** Servers without TLS are fine: for tests, and for mail servers of the own machine. */
  allowPlain: boolean;
}

export function createMailProvider({ http, reach, allowPlain }: MailOptions): SourceProvider {
  return {
    kind: 'mail',
    settings: Settings,
    secrets: ['password'],

    async check(settings) {
      const { host, mbox_url, mbox_file } = settings as Static<typeof Settings>;
      const ways = [host !== undefined, mbox_url !== undefined, mbox_file === true].filter(Boolean).length;
      if (ways !== 1) throw new SourceError('Name one of: host (IMAP), mbox_url, mbox_file.');
    },

    async open(run) {
      const { mbox_url, mbox_file } = run.settings as Static<typeof Settings>;
      if (mbox_file) return openMbox(await run.file(), run.maxBytes);
      if (mbox_url === undefined) return openImap(run, { reach, allowPlain });
      const validator = typeof run.cursor === 'string' ? run.cursor : null;
      const answer = await http.get({ url: mbox_url, headers: conditionOf(validator), signal: run.signal });
      if (answer.status === 304) {
        answer.discard();
        return { ...openMbox(none(), run.maxBytes), unchanged: true, cursor: () => validator };
      }
      if (answer.status !== 200) {
        answer.discard();
        throw unavailable(answer);
      }
      return { ...openMbox(answer.body(MAX_MBOX_BYTES), run.maxBytes), cursor: () => validatorOf(answer) };
    },
  };
}
