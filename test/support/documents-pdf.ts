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
