/** Presentations, OpenDocument files and e-books, as small as programs accept them. */
import { storedZip } from '../../src/ingest/zip-write.ts';
import { type ZipPart, zip } from './documents-zip.ts';

const PACKAGE = 'http://schemas.openxmlformats.org/package/2006';
const OFFICE = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships';
const PRESENTATION = 'http://schemas.openxmlformats.org/presentationml/2006/main';
const DRAWING = 'http://schemas.openxmlformats.org/drawingml/2006/main';

export interface Slide {
  title?: string;
  lines?: readonly string[];
  rows?: readonly (readonly string[])[];
  notes?: string;
}

export function pptx(slides: readonly Slide[]): Uint8Array {
  const relations = (items: readonly string[]) =>
    `<?xml version="1.0"?><Relationships xmlns="${PACKAGE}/relationships">${items.join('')}</Relationships>`;
  const relation = (id: string, type: string, target: string) =>
    `<Relationship Id="${id}" Type="${OFFICE}/${type}" Target="${target}"/>`;
  const type = (part: string, kind: string) =>
    `<Override PartName="${part}" ContentType="application/vnd.openxmlformats-officedocument.presentationml.${kind}+xml"/>`;
  const numbered = slides.map((slide, i) => ({ slide, n: i + 1 }));
  const parts: ZipPart[] = numbered.flatMap(({ slide, n }) => [
    { name: `ppt/slides/slide${n}.xml`, data: slideXml('sld', slideBody(slide)) },
    {
      name: `ppt/slides/_rels/slide${n}.xml.rels`,
      data: relations(slide.notes ? [relation('rId1', 'notesSlide', `../notesSlides/notesSlide${n}.xml`)] : []),
    },
    ...(slide.notes
      ? [{ name: `ppt/notesSlides/notesSlide${n}.xml`, data: slideXml('notes', shape('body', [slide.notes])) }]
      : []),
  ]);
  return zip([
    {
      name: '[Content_Types].xml',
      data: `<?xml version="1.0"?><Types xmlns="${PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>${type('/ppt/presentation.xml', 'presentation.main')}${numbered.map(({ n }) => type(`/ppt/slides/slide${n}.xml`, 'slide')).join('')}</Types>`,
    },
    { name: '_rels/.rels', data: relations([relation('rId1', 'officeDocument', 'ppt/presentation.xml')]) },
    {
      name: 'ppt/presentation.xml',
      data: `<?xml version="1.0"?><p:presentation xmlns:p="${PRESENTATION}" xmlns:r="${OFFICE}"><p:sldIdLst>${numbered.map(({ n }) => `<p:sldId id="${255 + n}" r:id="rId${n}"/>`).join('')}</p:sldIdLst></p:presentation>`,
    },
    {
      name: 'ppt/_rels/presentation.xml.rels',
      data: relations(numbered.map(({ n }) => relation(`rId${n}`, 'slide', `slides/slide${n}.xml`))),
    },
    ...parts,
  ]);
}

const slideXml = (root: string, body: string) =>
  `<?xml version="1.0"?><p:${root} xmlns:p="${PRESENTATION}" xmlns:a="${DRAWING}"><p:cSld><p:spTree>${body}</p:spTree></p:cSld></p:${root}>`;

const shape = (placeholder: string, lines: readonly string[]) =>
  `<p:sp><p:nvSpPr><p:cNvPr id="1" name="x"/><p:cNvSpPr/><p:nvPr><p:ph type="${placeholder}"/></p:nvPr></p:nvSpPr><p:txBody>${lines.map((line) => `<a:p><a:r><a:t>${line}</a:t></a:r></a:p>`).join('')}</p:txBody></p:sp>`;

function slideBody({ title, lines = [], rows }: Slide): string {
  const cell = (text: string) => `<a:tc><a:txBody><a:p><a:r><a:t>${text}</a:t></a:r></a:p></a:txBody></a:tc>`;
  const table = rows
    ? `<p:graphicFrame><a:graphic><a:graphicData><a:tbl>${rows.map((row) => `<a:tr>${row.map(cell).join('')}</a:tr>`).join('')}</a:tbl></a:graphicData></a:graphic></p:graphicFrame>`
    : '';
  return `${title ? shape('title', [title]) : ''}${lines.length > 0 ? shape('body', lines) : ''}${table}`;
}

const ODF = 'urn:oasis:names:tc:opendocument:xmlns';

/** `body` is what stands in `office:text` or `office:presentation`. */
export function openDocument(kind: 'text' | 'presentation', body: string, title = ''): Uint8Array {
  const namespaces = `xmlns:office="${ODF}:office:1.0" xmlns:text="${ODF}:text:1.0" xmlns:table="${ODF}:table:1.0" xmlns:draw="${ODF}:drawing:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"`;
  const parts = {
    mimetype: `application/vnd.oasis.opendocument.${kind}`,
    'content.xml': `<?xml version="1.0"?><office:document-content ${namespaces}><office:body><office:${kind}>${body}</office:${kind}></office:body></office:document-content>`,
    'meta.xml': `<?xml version="1.0"?><office:document-meta ${namespaces}><office:meta><dc:title>${title}</dc:title></office:meta></office:document-meta>`,
    'META-INF/manifest.xml': '<manifest/>',
  };
  return storedZip(new Map(Object.entries(parts).map(([name, data]) => [name, Buffer.from(data)])));
}

/** The same in one XML document; `extra` stands between the metadata and the body. */
export function flatOpenDocument(
  kind: 'text' | 'presentation' | 'spreadsheet' | 'graphics',
  body: string,
  { title = '', extra = '', prolog = '' } = {},
): string {
  const namespaces = ['office', 'text', 'table', 'script'].map((name) => `xmlns:${name}="${ODF}:${name}:1.0"`);
  const drawing = `xmlns:draw="${ODF}:drawing:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n${prolog}<office:document ${namespaces.join(' ')} ${drawing} office:version="1.3" office:mimetype="application/vnd.oasis.opendocument.${kind}"><office:meta><dc:title>${title}</dc:title></office:meta>${extra}<office:body><office:${kind}>${body}</office:${kind}></office:body></office:document>`;
}

/** Chapters in the order in which they are read; in the file they lie the other way round. */
export function epub(title: string, chapters: readonly string[]): Uint8Array {
  const items = chapters.map(
    (_, i) => `<item id="c${i}" href="text/c%20${i}.xhtml" media-type="application/xhtml+xml"/>`,
  );
  const spine = chapters.map((_, i) => `<itemref idref="c${i}"/>`);
  return zip([
    { name: 'mimetype', data: 'application/epub+zip' },
    {
      name: 'META-INF/container.xml',
      data: '<?xml version="1.0"?><container><rootfiles><rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>',
    },
    {
      name: 'OPS/book.opf',
      data: `<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>${title}</dc:title></metadata><manifest>${items.reverse().join('')}<item id="nav" href="nav.xhtml" properties="nav"/></manifest><spine><itemref idref="nav"/>${spine.join('')}</spine></package>`,
    },
    { name: 'OPS/nav.xhtml', data: '<html><body><nav>Contents</nav></body></html>' },
    ...chapters
      .map((body, i) => ({
        name: `OPS/text/c ${i}.xhtml`,
        data: `<?xml version="1.0"?><html><head><title/></head><body>${body}</body></html>`,
      }))
      .reverse(),
  ]);
}
