/**
 * What people wrote onto a PDF page: values of a form's fields and free text stand where they are shown, remarks on the
 * text come after it. None of it is in the page's own text.
 */
import type { Line, Run } from './pdf-layout.ts';

/** What is looked at of an annotation of pdf.js. */
interface Annotation {
  subtype?: unknown;
  fieldType?: unknown;
  fieldValue?: unknown;
  exportValue?: unknown;
  checkBox?: unknown;
  radioButton?: unknown;
  buttonValue?: unknown;
  password?: unknown;
  hidden?: unknown;
  annotationFlags?: unknown;
  contentsObj?: { str?: unknown };
  rect?: unknown;
}

export interface Written {
  /** At its place, to be read with the text beside it. */
  runs: Run[];
  remarks: Line[];
}

/** Of a page, as read by `getAnnotations`. */
const MOST = 2000;
const REMARKS = /^(?:Text|Highlight|Underline|StrikeOut|Squiggly|Caret|Stamp|Square|Circle|Polygon|PolyLine|Line|Ink)$/;
/** Flags "hidden" and "no view": ISO 32000-1, 12.5.3. */
const UNSEEN = 2 | 32;

export function writtenOn(annotations: readonly unknown[]): Written {
  const runs: Run[] = [];
  const remarks: Line[] = [];
  for (const annotation of annotations.slice(0, MOST) as Annotation[]) {
    if (annotation.hidden === true || (Number(annotation.annotationFlags) & UNSEEN) !== 0) continue;
    const said = typeof annotation.contentsObj?.str === 'string' ? annotation.contentsObj.str.trim() : '';
    const shown =
      annotation.subtype === 'Widget' ? filledIn(annotation) : annotation.subtype === 'FreeText' ? said : '';
    if (shown !== '') runs.push(...runsOf(shown, annotation.rect));
    else if (said !== '' && typeof annotation.subtype === 'string' && REMARKS.test(annotation.subtype)) {
      // Of no size, so that it is taken for neither heading nor body.
      remarks.push({ text: `[Comment: ${said}]`, x: 0, right: 0, y: 0, size: Number.NaN, before: '\n\n' });
    }
  }
  return { runs, remarks };
}

function filledIn({
  fieldType,
  fieldValue,
  exportValue,
  checkBox,
  radioButton,
  buttonValue,
  password,
}: Annotation): string {
  if (password === true) return '';
  if (fieldType === 'Btn') {
    const on = checkBox === true ? exportValue : radioButton === true ? buttonValue : undefined;
    return typeof on === 'string' && on !== 'Off' && on === fieldValue ? '[x]' : '';
  }
  const values: unknown[] = Array.isArray(fieldValue) ? fieldValue : [fieldValue];
  return values
    .filter((value) => typeof value === 'string')
    .join(', ')
    .trim();
}

/** Lines from the top of a rectangle; one line stands in its middle. */
function runsOf(text: string, rect: unknown): Run[] {
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = Array.isArray(rect) ? rect.map(Number) : [];
  const [x, width, top, height] = [Math.min(x1, x2), Math.abs(x2 - x1), Math.max(y1, y2), Math.abs(y2 - y1)];
  const lines = text.split(/\r\n?|\n/).filter((line) => line.trim() !== '');
  const size = Math.max(4, Math.min(12, (height / Math.max(1, lines.length)) * 0.8));
  const first = lines.length === 1 ? top - height / 2 - size * 0.35 : top - size;
  return lines.map((line, i) => ({ text: line, x, y: first - i * size * 1.2, width, size }));
}

/** A page's text with what was filled in: beside what stands on the same line, else behind what is above. */
export function withWritten(text: readonly Run[], written: readonly Run[]): Run[] {
  const runs = [...text];
  for (const run of written) {
    const isLevel = ({ y, size }: Run) => Math.abs(y - run.y) <= 0.8 * Math.max(size, run.size);
    const left = runs.findLastIndex((other) => isLevel(other) && other.x <= run.x);
    const beside = left < 0 ? runs.findIndex(isLevel) : left;
    if (beside >= 0) {
      // On its neighbour's base line, to become one line with it.
      runs.splice(left + 1 || beside, 0, { ...run, y: runs[beside]?.y ?? run.y });
      continue;
    }
    const below = runs.findIndex(({ y }) => y < run.y);
    runs.splice(below < 0 ? runs.length : below, 0, run);
  }
  return runs;
}
