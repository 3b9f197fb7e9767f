/** Text in legacy encodings, which JavaScript can only read: the tables are the decoder's, turned around. */
const tables = new Map<string, Map<string, readonly number[]>>();

type Label = ConstructorParameters<typeof TextDecoder>[0];

function tableOf(charset: string): Map<string, readonly number[]> {
  const known = tables.get(charset);
  if (known) return known;
  const decoder = new TextDecoder(charset as Label, { fatal: true });
  const table = new Map<string, readonly number[]>();
  const learn = (...bytes: number[]) => {
    try {
      const char = decoder.decode(Uint8Array.from(bytes));
      if ([...char].length === 1 && !table.has(char)) table.set(char, bytes);
    } catch {
      // Not a character of this encoding.
    }
  };
  for (let byte = 0; byte < 256; byte++) learn(byte);
  for (let lead = 0x81; lead < 0xff; lead++) for (let trail = 0x40; trail < 0xff; trail++) learn(lead, trail);
  tables.set(charset, table);
  return table;
}

/** Throws for a character that the encoding does not have. */
export function encodeAs(charset: string, text: string): Uint8Array {
  if (charset === 'utf-16le' || charset === 'utf-16be') return encodeUtf16(text, charset === 'utf-16le');
  const table = tableOf(charset);
  return Uint8Array.from(
    [...text].flatMap((char) => {
      const bytes = table.get(char);
      if (!bytes) throw new Error(`${char} is not in ${charset}`);
      return [...bytes];
    }),
  );
}

function encodeUtf16(text: string, littleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(text.length * 2));
  for (let i = 0; i < text.length; i++) view.setUint16(i * 2, text.charCodeAt(i), littleEndian);
  return new Uint8Array(view.buffer);
}

export function encodeUtf32(text: string, littleEndian: boolean): Uint8Array {
  const codes = [...text].map((char) => char.codePointAt(0) ?? 0);
  const view = new DataView(new ArrayBuffer(codes.length * 4));
  codes.forEach((code, i) => {
    view.setUint32(i * 4, code, littleEndian);
  });
  return new Uint8Array(view.buffer);
}
