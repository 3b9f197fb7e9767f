/** Messages as Outlook packs them for itself (TNEF), as small as readers accept them. Layout: [MS-OXTNEF] 2.1. */

const SIGNATURE = Buffer.from('789f3e220100', 'hex');

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

export function attribute(id: number, value: Uint8Array): Buffer {
  const level = id === 0x00069002 || id === 0x00018010 || id === 0x0006800f || id === 0x00069005 ? 2 : 1;
  const sum = value.reduce((a, b) => (a + b) & 0xffff, 0);
  return Buffer.concat([
    Buffer.from([level]),
    long(id),
    long(value.length),
    value,
    Buffer.from([sum & 0xff, sum >> 8]),
  ]);
}

/** Text in UTF-16, bytes, or a number, by what is given. */
export type Property = readonly [id: number, value: string | Uint8Array | number, type?: number];

export function properties(list: readonly Property[]): Buffer {
  const encoded = list.map(([id, value, given]) => {
    if (typeof value === 'number') return Buffer.concat([long((id << 16) | (given ?? 0x03)), long(value)]);
    const isText = typeof value === 'string';
    const bytes = isText ? Buffer.from(`${value}\0`, 'utf16le') : value;
    const type = given ?? (isText ? 0x1f : 0x102);
    const padding = Buffer.alloc(-bytes.length & 3);
    return Buffer.concat([long((id << 16) | type), long(1), long(bytes.length), bytes, padding]);
  });
  return Buffer.concat([long(list.length), ...encoded]);
}

export interface Packed {
  codePage?: number;
  message?: readonly Property[];
  recipients?: readonly (readonly Property[])[];
  attachments?: readonly { title?: Uint8Array; data?: Uint8Array; properties?: readonly Property[] }[];
  /** Other attributes, before those. */
  extra?: readonly Buffer[];
}

export function tnef({ codePage = 1252, message = [], recipients = [], attachments = [], extra = [] }: Packed): Buffer {
  return Buffer.concat([
    SIGNATURE,
    attribute(0x00069007, Buffer.concat([long(codePage), long(0)])),
    ...extra,
    attribute(0x00069004, Buffer.concat([long(recipients.length), ...recipients.map(properties)])),
    attribute(0x00069003, properties(message)),
    ...attachments.flatMap(({ title, data, properties: own }) => [
      attribute(0x00069002, Buffer.alloc(14)),
      ...(title ? [attribute(0x00018010, Buffer.concat([title, Buffer.from([0])]))] : []),
      ...(data ? [attribute(0x0006800f, data)] : []),
      ...(own ? [attribute(0x00069005, properties(own))] : []),
    ]),
  ]);
}

/** Rich text as Outlook keeps it, not packed: [MS-OXRTFCP] 2.1.3.1.2. */
export function plainRtf(source: string): Buffer {
  const bytes = Buffer.from(source, 'latin1');
  return Buffer.concat([long(bytes.length + 12), long(bytes.length), Buffer.from('MELA', 'latin1'), long(0), bytes]);
}
