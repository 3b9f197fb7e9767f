/** Signatures of the Standard Webhooks convention, https://www.standardwebhooks.com. */
import { createHmac } from 'node:crypto';

const PREFIX = 'whsec_';

/** A secret as people are given it. */
export function printedSecret(secret: Uint8Array): string {
  return PREFIX + Buffer.from(secret).toString('base64');
}

/** What a sealed secret is bound to: its row. */
export const secretContext = (tenantId: string, webhookId: string): string => `${tenantId} ${webhookId}`;

/** Headers that prove who sent a body, and when. The receiver knows a message that comes twice by its id. */
export function signedHeaders(message: {
  id: string;
  /** Milliseconds since the epoch, of this attempt. */
  at: number;
  body: string;
  secret: Uint8Array;
}): Record<string, string> {
  const timestamp = String(Math.floor(message.at / 1_000));
  const signature = createHmac('sha256', message.secret)
    .update(`${message.id}.${timestamp}.${message.body}`)
    .digest('base64');
  return { 'webhook-id': message.id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` };
}
