/** The types of documents that can be read, with what people call them. A type is added here with its extractor. */
const OOXML = 'application/vnd.openxmlformats-officedocument';
const ODF = 'application/vnd.oasis.opendocument';

export const DOCX = `${OOXML}.wordprocessingml.document`;
export const PPTX = `${OOXML}.presentationml.presentation`;
export const XLSX = `${OOXML}.spreadsheetml.sheet`;
export const ODT = `${ODF}.text`;
export const ODS = `${ODF}.spreadsheet`;
export const ODP = `${ODF}.presentation`;
export const FODT = `${ODF}.text-flat-xml`;
export const FODS = `${ODF}.spreadsheet-flat-xml`;
export const FODP = `${ODF}.presentation-flat-xml`;
export const EPUB = 'application/epub+zip';
export const DOC = 'application/msword';
export const PPT = 'application/vnd.ms-powerpoint';
export const XLS = 'application/vnd.ms-excel';
export const XLSB = 'application/vnd.ms-excel.sheet.binary.macroenabled.12';
export const MSG = 'application/vnd.ms-outlook';
export const EML = 'message/rfc822';
export const TNEF = 'application/vnd.ms-tnef';
export const RTF = 'application/rtf';
export const PDF = 'application/pdf';
export const HTML = 'text/html';
export const MARKDOWN = 'text/markdown';
export const PLAIN = 'text/plain';
export const CSV = 'text/csv';
export const TSV = 'text/tab-separated-values';
export const JSON_TYPE = 'application/json';
export const JSON_LINES = 'application/x-ndjson';
export const NOTEBOOK = 'application/x-ipynb+json';
export const XML = 'application/xml';
export const SRT = 'application/x-subrip';
export const VTT = 'text/vtt';
export const TIFF = 'image/tiff';
export const GIF = 'image/gif';
export const BMP = 'image/bmp';
/** Pictures that recognition reads as they are. */
export const PICTURES = ['image/png', 'image/jpeg', 'image/webp'] as const;

export const READABLE: ReadonlySet<string> = new Set([
  ...[PLAIN, MARKDOWN, HTML, CSV, TSV, JSON_TYPE, JSON_LINES, NOTEBOOK, XML, SRT, VTT],
  ...[PDF, DOCX, PPTX, XLSX, ODT, ODS, ODP, FODT, FODS, FODP, EPUB, RTF, DOC, XLS, XLSB, PPT, EML, MSG, TNEF],
  ...[...PICTURES, BMP, TIFF, GIF],
]);
