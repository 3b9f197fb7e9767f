/** PDF files written by hand: enough of the format to say what stands where on which page. */
export interface PdfText {
  text: string;
  x: number;
  y: number;
  size?: number;
  /** A Chinese font that is named and not embedded, as office programs write it; the text is then any Unicode. */
  chinese?: boolean;
}

export interface PdfOptions {
  title?: string;
  /** An encryption dictionary whose password nobody knows. */
  encrypted?: boolean;
  /** Makes the page tree contain itself. */
  loop?: boolean;
}

export function pdf(pages: readonly (readonly PdfText[])[], { title, encrypted, loop }: PdfOptions = {}): Uint8Array {
  const objects: string[] = [];
  const first = 6;
  const kids = pages.map((_, i) => `${first + i * 2} 0 R`);
  objects[1] = '<< /Type /Catalog /Pages 2 0 R >>';
  objects[2] = `<< /Type /Pages /Kids [${loop ? '2 0 R' : kids.join(' ')}] /Count ${loop ? 1000 : pages.length} >>`;
  objects[3] = '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>';
  objects[4] =
    '<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> /FontDescriptor << /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 800 /Descent -200 /CapHeight 700 /StemV 80 >> /DW 1000 >>] >>';
  objects[5] = `<< /Producer (test)${title ? ` /Title <feff${utf16(title)}>` : ''} >>`;
  pages.forEach((texts, i) => {
    const content = texts.map(show).join('\n');
    objects[first + i * 2] =
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> /Contents ${first + i * 2 + 1} 0 R >>`;
    objects[first + i * 2 + 1] = `<< /Length ${content.length} >>\nstream\n${content}\nendstream`;
  });
  let file = '%PDF-1.7\n';
  const offsets: number[] = [];
  objects.forEach((body, number) => {
    offsets[number] = file.length;
    file += `${number} 0 obj\n${body}\nendobj\n`;
  });
  const start = file.length;
  const entries = objects.map((_, number) => `${String(offsets[number] ?? 0).padStart(10, '0')} 00000 n \n`).slice(1);
  const secret = 'ab'.repeat(32);
  const encrypt = `/Encrypt << /Filter /Standard /V 1 /R 2 /O <${secret}> /U <${secret}> /P -44 >> /ID [<${secret}> <${secret}>]`;
  file += `xref\n0 ${objects.length}\n0000000000 65535 f \n${entries.join('')}trailer\n<< /Size ${objects.length} /Root 1 0 R /Info 5 0 R ${encrypted ? encrypt : ''} >>\nstartxref\n${start}\n%%EOF\n`;
  return new TextEncoder().encode(file);
}

function show({ text, x, y, size = 12, chinese }: PdfText): string {
  const literal = chinese ? `<${utf16(text)}>` : `(${text.replace(/[\\()]/g, '\\$&')})`;
  return `BT /${chinese ? 'F2' : 'F1'} ${size} Tf 1 0 0 1 ${x} ${y} Tm ${literal} Tj ET`;
}

function utf16(text: string): string {
  return Array.from({ length: text.length }, (_, i) => text.charCodeAt(i).toString(16).padStart(4, '0')).join('');
}

/** A page of text, then two of a scan: one as it stands, perhaps with a stamp, one lying on its side and turned by the page. */
export function scannedPdf(png: Uint8Array, text: string, stamp = ''): Uint8Array {
  const source = Buffer.from(png);
  const [width, height] = [source.readUInt32BE(16), source.readUInt32BE(20)];
  const bits = source.readUInt8(24);
  const data: Buffer[] = [];
  for (let at = 8; at + 8 < source.length; at += source.readUInt32BE(at) + 12) {
    if (source.toString('latin1', at + 4, at + 8) === 'IDAT') {
      data.push(source.subarray(at + 8, at + 8 + source.readUInt32BE(at)));
    }
  }
  // A PNG's rows are packed as a PDF's with predictors are.
  const packed = Buffer.concat(data);
  const page = (content: number, extra = '') =>
    `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 ${width} ${height}] /Resources << /Font << /F1 3 0 R >> /XObject << /Scan 4 0 R >> >> /Contents ${content} 0 R ${extra} >>`;
  const stream = (content: string) => `<< /Length ${content.length} >>\nstream\n${content}\nendstream`;
  const objects: (string | Buffer)[] = [
    '<< /Type /Catalog /Pages 2 0 R >>',
    '<< /Type /Pages /Kids [5 0 R 7 0 R 9 0 R] /Count 3 >>',
    '<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>',
    Buffer.concat([
      Buffer.from(
        `<< /Type /XObject /Subtype /Image /Width ${width} /Height ${height} /BitsPerComponent ${bits} /ColorSpace /DeviceGray /Filter /FlateDecode /DecodeParms << /Predictor 15 /Colors 1 /BitsPerComponent ${bits} /Columns ${width} >> /Length ${packed.length} >>\nstream\n`,
      ),
      packed,
      Buffer.from('\nendstream'),
    ]),
    page(6),
    stream(`BT /F1 12 Tf 20 50 Td (${text}) Tj ET`),
    page(8),
    stream(`q ${width} 0 0 ${height} 0 0 cm /Scan Do Q${stamp && ` BT /F1 12 Tf 20 5 Td (${stamp}) Tj ET`}`),
    page(10, '/Rotate 90'),
    stream(`q 0 ${height} -${width} 0 ${width} 0 cm /Scan Do Q`),
  ];
  const pieces = objects.flatMap((body, i) => [
    Buffer.from(`${i + 1} 0 obj\n`),
    Buffer.from(body),
    Buffer.from('\nendobj\n'),
  ]);
  return Buffer.concat([Buffer.from('%PDF-1.7\n'), ...pieces, Buffer.from('trailer\n<< /Root 1 0 R >>\n%%EOF\n')]);
}

/** A form that was filled in, with free text and a remark, none of which is the page's own text. */
export function annotatedPdf(): Uint8Array {
  const texts: PdfText[] = [
    { text: 'Full name:', x: 72, y: 700 },
    { text: 'I agree', x: 100, y: 650 },
  ];
  const field = (entries: string, rect: string) =>
    `<< /Type /Annot /Subtype /Widget ${entries} /Rect [${rect}] /F 4 >>`;
  const note = (kind: string, words: string, rect: string) =>
    `<< /Type /Annot /Subtype /${kind} /Contents (${words}) /Rect [${rect}] /DA (/Helv 12 Tf 0 g) >>`;
  const annotations = [
    field('/FT /Tx /T (name) /V (Ann Example)', '135 692 335 716'),
    field('/FT /Btn /T (agree) /V /Yes /AS /Yes /AP << /N << /Yes 1 0 R /Off 1 0 R >> >>', '72 645 90 663'),
    field('/FT /Btn /T (not) /V /Off /AS /Off /AP << /N << /Yes 1 0 R /Off 1 0 R >> >>', '72 605 90 623'),
    field('/FT /Tx /Ff 8192 /T (secret) /V (hunter2)', '72 560 200 580'),
    note('FreeText', 'written on the page', '72 500 300 520'),
    note('Text', 'check this', '72 450 90 470'),
  ];
  const plain = Buffer.from(pdf([texts])).toString('latin1');
  // What follows moves, which the table of places does not say: readers find objects by their names then.
  return Buffer.from(plain.replace('/Contents 7 0 R', `/Contents 7 0 R /Annots [${annotations.join(' ')}]`), 'latin1');
}
