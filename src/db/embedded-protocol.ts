/**
 * As much of PostgreSQL's wire protocol (version 3) as it takes to stand between clients and one backend: cutting a
 * client's bytes into messages, and saying a few things on the server's behalf.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export const PROTOCOL_3 = 196_608;
export const CANCEL_REQUEST = 80_877_102;
export const SSL_REQUEST = 80_877_103;
export const GSS_REQUEST = 80_877_104;

/** A client's first message has no type byte; `code` is the protocol version or one of the requests above. */
export interface StartupMessage {
  code: number;
  bytes: Buffer;
}

export interface Message {
  /** The type byte as a character. */
  type: string;
  /** The whole message, type and length included. */
  bytes: Buffer;
}

/** The most that one message may take: far above any statement of ours, far below what would exhaust the memory. */
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;

export class ProtocolError extends Error {}

function assertLength(length: number, least: number): void {
  if (length < least || length > MAX_MESSAGE_BYTES) throw new ProtocolError(`a message of ${length} bytes`);
}

/** Collects a connection's bytes and gives them back message by message; null while one is not whole yet. */
export function createMessageReader() {
  let chunks: Buffer[] = [];
  let size = 0;

  function take(length: number): Buffer | null {
    if (size < length) return null;
    const all = chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks, size);
    const rest = all.subarray(length);
    chunks = rest.length > 0 ? [rest] : [];
    size = rest.length;
    return all.subarray(0, length);
  }

  /** The first bytes without taking them. */
  function peek(length: number): Buffer | null {
    if (size < length) return null;
    const first = chunks[0];
    if (first && first.length >= length) return first.subarray(0, length);
    chunks = [Buffer.concat(chunks, size)];
    return chunks[0]?.subarray(0, length) ?? null;
  }

  return {
    push(bytes: Buffer): void {
      chunks.push(bytes);
      size += bytes.length;
    },
    startup(): StartupMessage | null {
      const head = peek(8);
      if (!head) return null;
      const length = head.readInt32BE(0);
      assertLength(length, 8);
      const code = head.readInt32BE(4);
      const bytes = take(length);
      return bytes && { code, bytes };
    },
    next(): Message | null {
      const head = peek(5);
      if (!head) return null;
      const length = head.readInt32BE(1);
      assertLength(length, 4);
      const type = String.fromCharCode(head[0] ?? 0);
      const bytes = take(length + 1);
      return bytes && { type, bytes };
    },
  };
}

/** The NUL-terminated string that starts at `offset`, and where the next field starts. */
export function stringAt(bytes: Buffer, offset: number): { text: string; next: number } {
  const end = bytes.indexOf(0, offset);
  if (end === -1) throw new ProtocolError('a string without its end');
  return { text: bytes.toString('utf8', offset, end), next: end + 1 };
}

function message(type: string, body: Buffer): Buffer {
  const bytes = Buffer.alloc(5 + body.length);
  bytes.write(type, 0, 'latin1');
  bytes.writeInt32BE(4 + body.length, 1);
  body.copy(bytes, 5);
  return bytes;
}

const cString = (text: string): Buffer => Buffer.from(`${text}\0`, 'utf8');

export const frontend = {
  startup(parameters: Record<string, string>): Buffer {
    const fields = Object.entries(parameters).flatMap(([name, value]) => [cString(name), cString(value)]);
    const body = Buffer.concat([...fields, Buffer.from([0])]);
    const head = Buffer.alloc(8);
    head.writeInt32BE(8 + body.length, 0);
    head.writeInt32BE(PROTOCOL_3, 4);
    return Buffer.concat([head, body]);
  },
  query: (sql: string): Buffer => message('Q', cString(sql)),
  parse: (name: string, sql: string): Buffer =>
    message('P', Buffer.concat([cString(name), cString(sql), Buffer.from([0, 0])])),
  closeStatement: (name: string): Buffer => message('C', Buffer.concat([Buffer.from('S'), cString(name)])),
  sync: message('S', Buffer.alloc(0)),
};

export const backend = {
  askPassword: message('R', Buffer.from([0, 0, 0, 3])),
  error: (code: string, text: string): Buffer =>
    message(
      'E',
      Buffer.concat([cString('SFATAL'), cString('VFATAL'), cString(`C${code}`), cString(`M${text}`), Buffer.from([0])]),
    ),
};
