/** Compound files: old Office documents and Outlook's messages, as far as readers look at them. */
import * as XLSX from '@e965/xlsx';

/** `streams` by name; a `/` puts one into a storage. */
export function cfb(streams: Readonly<Record<string, string | Uint8Array>>): Uint8Array {
  const container = XLSX.CFB.utils.cfb_new();
  for (const [name, content] of Object.entries(streams)) {
    XLSX.CFB.utils.cfb_add(container, `/${name}`, typeof content === 'string' ? Buffer.from(content) : content);
  }
  return new Uint8Array(XLSX.CFB.write(container, { type: 'buffer' }) as Buffer);
}

/** A workbook in the format of before 2007, or in today's. */
export function workbook(
  sheets: Readonly<Record<string, readonly (readonly (string | number)[])[]>>,
  format: 'biff8' | 'xlsx' | 'xlsb' | 'ods' | 'fods' = 'xlsx',
): Uint8Array {
  const book = XLSX.utils.book_new();
  for (const [name, rows] of Object.entries(sheets)) {
    XLSX.utils.book_append_sheet(book, XLSX.utils.aoa_to_sheet(rows.map((row) => [...row])), name);
  }
  return new Uint8Array(XLSX.write(book, { type: 'buffer', bookType: format, compression: true }));
}

/**
 * A Word document of before 2007, of plain text: a header that says where the pieces of the text are, and one piece.
 * Layout: [MS-DOC] 2.5.1 (Fib) and 2.8.35 (PlcPcd).
 */
export function doc(text: string, { encrypted = false } = {}): Uint8Array {
  const header = Buffer.alloc(0x0600);
  const body = Buffer.from(`${text}\r`, 'utf16le');
  const chars = body.length / 2;
  header.writeUInt16LE(0xa5ec, 0);
  header.writeUInt16LE(0x00c1, 2);
  // The text's table is in the stream `1Table`.
  header.writeUInt16LE(0x0200 | (encrypted ? 0x0100 : 0), 10);
  header.writeInt32LE(chars, 0x4c);
  const table = Buffer.alloc(5 + 8 + 8);
  table.writeUInt8(2, 0);
  table.writeUInt32LE(16, 1);
  table.writeUInt32LE(0, 5);
  table.writeUInt32LE(chars, 9);
  table.writeUInt32LE(header.length, 15);
  header.writeUInt32LE(0, 0x1a2);
  header.writeUInt32LE(table.length, 0x1a6);
  // Streams below 4,096 bytes go to a place of their own, which readers reach as well.
  return cfb({ WordDocument: Buffer.concat([header, body]), '1Table': table });
}
