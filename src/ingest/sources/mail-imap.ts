/**
 * Messages of mailboxes over IMAP. A message never changes, so its number in its mailbox's present numbering (UIDVALIDITY)
 * says all: what is known is not fetched again, and what is no longer listed is gone.
 */
import { Type } from '@sinclair/typebox';
import { ImapFlow } from 'imapflow';
import type { SourceContent, SourceItem, SourceRun, SourceSession } from '../../contracts/index.ts';
import type { Reach } from './reach.ts';
import { SourceError, SourceUnavailable } from './source-error.ts';

export const ImapSettings = {
  host: Type.Optional(Type.String({ minLength: 1, maxLength: 253, description: 'Of the IMAP server' })),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535, default: 993 })),
  secure: Type.Optional(
    Type.Boolean({ default: true, description: 'TLS from the start; false: TLS is asked for once connected' }),
  ),
  user: Type.Optional(Type.String({ maxLength: 320 })),
  password: Type.Optional(Type.String({ maxLength: 1_000, description: 'Encrypted; never shown' })),
  mailboxes: Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 500 }), { maxItems: 50, description: 'Absent: INBOX' }),
  ),
};

interface ImapAccess {
  host: string;
  port?: number;
  secure?: boolean;
  user?: string;
  password?: string;
  mailboxes?: string[];
}

const TIMEOUT_MS = 30_000;
const KEY = /^(\d+)\/(\d+)\/(.*)$/s;

const reasonOf = (error: unknown): string => {
  const said = error as { responseText?: string; authenticationFailed?: boolean; message?: string };
  if (said.authenticationFailed) return 'The mail server refuses the user or the password.';
  return `The mail server says: ${(said.responseText ?? said.message ?? 'nothing').slice(0, 200)}`;
};

export async function openImap(
  run: SourceRun,
  { reach, allowPlain }: { reach: Reach; allowPlain: boolean },
): Promise<SourceSession> {
  const {
    host,
    port = 993,
    secure = true,
    user = '',
    password = '',
    mailboxes = ['INBOX'],
  } = run.settings as unknown as ImapAccess;
  const [{ address }] = await reach.addressesOf(host);
  const client = new ImapFlow({
    // Where the name was found to lead, with the certificate still checked against the name.
    host: address,
    servername: host,
    port,
    secure,
    // Credentials are never sent in the clear: without TLS from the start it is asked for, and needed.
    ...(!secure && { doSTARTTLS: !allowPlain }),
    auth: { user, pass: password },
    logger: false,
    disableAutoIdle: true,
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
  });
  // Whoever waits for an answer is told; nobody else needs to be.
  client.on('error', () => undefined);
  const stop = () => client.close();
  run.signal.addEventListener('abort', stop, { once: true });

  async function ask<T>(question: () => Promise<T>): Promise<T> {
    try {
      return await question();
    } catch (error) {
      if (run.signal.aborted) throw run.signal.reason;
      throw error instanceof SourceError ? error : new SourceUnavailable(reasonOf(error), { cause: error });
    }
  }

  await ask(() => client.connect());

  /** Opened read-only: no message is marked as seen. */
  async function select(mailbox: string) {
    if (client.mailbox && client.mailbox.path === mailbox) return client.mailbox;
    return client.mailboxOpen(mailbox, { readOnly: true });
  }

  return {
    async *list(): AsyncGenerator<SourceItem> {
      for (const mailbox of mailboxes) {
        const uids = await ask(async () => {
          const { uidValidity } = await select(mailbox);
          const found = await client.search({ all: true }, { uid: true });
          // A refusal: whoever took it for an empty mailbox would remove all that came from it.
          if (!found) throw new SourceUnavailable(`The mail server does not list what is in ${mailbox}.`);
          return found.map((uid) => `${uidValidity}/${uid}/${mailbox}`);
        });
        for (const key of uids) yield { key, fingerprint: 'sent' };
      }
    },

    async fetch({ key, fingerprint }): Promise<SourceContent | 'gone'> {
      const [, validity = '', uid = '', mailbox = ''] = KEY.exec(key) ?? [];
      const message = await ask(async () => {
        const { uidValidity } = await select(mailbox);
        if (String(uidValidity) !== validity) return undefined;
        const about = await client.fetchOne(uid, { envelope: true, size: true }, { uid: true });
        if (!about) return undefined;
        if ((about.size ?? 0) > run.maxBytes)
          throw new SourceError(`It is larger than the ${run.maxBytes} bytes allowed.`);
        // One byte more than there may be: a message whose size the server understates is refused, not cut.
        const { content } = await client.download(uid, undefined, { uid: true, maxBytes: run.maxBytes + 1 });
        return content && { about, content };
      });
      if (!message) return 'gone';
      const { subject, from, date } = message.about.envelope ?? {};
      const title = subject?.trim() || 'Message without a subject';
      return {
        body: message.content as AsyncIterable<Uint8Array>,
        filename: `${title.slice(0, 200)}.eml`,
        title: title.slice(0, 500),
        metadata: {
          mailbox,
          ...(from?.[0]?.address && { from: from[0].address }),
          ...(date && { date: new Date(date).toISOString() }),
        },
        fingerprint,
      };
    },

    async close() {
      run.signal.removeEventListener('abort', stop);
      // Politeness: the connection is closed either way.
      await client.logout().catch(() => undefined);
      client.close();
    },
  };
}
