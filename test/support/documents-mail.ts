/** E-mails as senders make them, good and bad. */
export interface MailPart {
  name: string;
  type: string;
  content: string | Uint8Array;
}

export function eml(
  { subject = 'Subject', body = 'Hello', html }: { subject?: string; body?: string; html?: string },
  attachments: readonly MailPart[] = [],
): string {
  const part = (headers: string, content: string) => `--outer\r\n${headers}\r\n\r\n${content}\r\n`;
  const text = html
    ? part('Content-Type: text/html; charset=utf-8', html)
    : part('Content-Type: text/plain; charset=utf-8', body);
  const files = attachments.map(({ name, type, content }) =>
    part(
      `Content-Type: ${type}; name="${name}"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename="${name}"`,
      (
        Buffer.from(content)
          .toString('base64')
          .match(/.{1,76}/g) ?? []
      ).join('\r\n'),
    ),
  );
  return `From: "Ann Ä" <ann@example.com>\r\nTo: Ben <ben@example.com>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\nSubject: ${subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n${text}${files.join('')}--outer--\r\n`;
}
