/**
 * Text runs of a PDF page, which say where they stand but not what they are, as lines in reading order.
 *
 * The order in the file is trusted: producers write columns and cells in the order in which they are read. Only a page
 * that keeps jumping back up is sorted by place. A wide gap within a line is a column and becomes a tab.
 */
export interface Run {
  text: string;
  /** Left end of the base line, in points from the left. */
  x: number;
  /** Base line, in points from the bottom. */
  y: number;
  width: number;
  /** Font size in points. */
  size: number;
}

export interface Line {
  text: string;
  x: number;
  right: number;
  y: number;
  size: number;
  /** What stands between this line and the one before it on the page: nothing when they are one, else newlines. */
  before: '' | '\n' | '\n\n';
}

/** Gaps in em: above, words are apart; above, columns are. */
const WORD_GAP = 0.15;
const CJK_WORD_GAP = 0.6;
const COLUMN_GAP = 1.8;
/** A distance of base lines above this many font sizes starts a new paragraph. */
const PARAGRAPH_GAP = 1.75;

const CJK = /[\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]/;
const RTL = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const endsInCjk = (text: string) => CJK.test(text.charAt(text.length - 1));
const startsWithCjk = (text: string) => CJK.test(text.charAt(0));

export function layOutPage(runs: readonly Run[]): Line[] {
  const lines = joinRuns(runs.filter(({ text }) => text.trim() !== ''));
  const ordered = isShuffled(lines) ? lines.toSorted((a, b) => b.y - a.y || a.x - b.x) : lines;
  const merged = ordered === lines ? lines : joinRuns(ordered.map(toRun));
  const right = new Map<number, number>();
  for (const line of merged) right.set(column(line), Math.max(right.get(column(line)) ?? 0, line.right));
  return merged.map((line, i) => {
    const previous = merged[i - 1];
    return previous ? { ...line, before: separator(previous, line, right.get(column(previous)) ?? 0) } : line;
  });
}

function joinRuns(runs: readonly Run[]): Line[] {
  const lines: Line[] = [];
  for (const run of runs) {
    const line = lines.at(-1);
    const text = run.text.replace(/\s+/g, ' ');
    const gap = line ? gapBetween(line, run) : 0;
    const sameLine = line && Math.abs(run.y - line.y) <= 0.45 * Math.max(line.size, run.size) && gap > -0.5 * run.size;
    if (!sameLine) {
      lines.push({ text: text.trim(), x: run.x, right: run.x + run.width, y: run.y, size: run.size, before: '' });
      continue;
    }
    line.text += spaceBetween(line.text, text.trimStart(), gap / Math.max(run.size, 1)) + text.trim();
    line.x = Math.min(line.x, run.x);
    line.right = Math.max(line.right, run.x + run.width);
    line.size = Math.max(line.size, run.size);
  }
  return lines;
}

/** From right to left a line goes on at its left; runs come in the order in which they are read. */
function gapBetween(line: Line, run: Run): number {
  const onwards = run.x - line.right;
  const back = line.x - (run.x + run.width);
  return back > onwards && (RTL.test(line.text) || RTL.test(run.text)) ? back : onwards;
}

function spaceBetween(left: string, right: string, gap: number): string {
  if (gap > COLUMN_GAP) return '\t';
  return gap > (endsInCjk(left) && startsWithCjk(right) ? CJK_WORD_GAP : WORD_GAP) ? ' ' : '';
}

const toRun = (line: Line): Run => ({ ...line, width: line.right - line.x });
const column = (line: Line) => Math.round(line.x / (3 * Math.max(line.size, 1)));

/** Most steps of a page go down; a step up that does not go right either is no column. */
function isShuffled(lines: readonly Line[]): boolean {
  let back = 0;
  for (let i = 1; i < lines.length; i++) {
    const [from, to] = [lines[i - 1], lines[i]];
    if (from && to && to.y > from.y + from.size && to.x < from.right) back += 1;
  }
  return back > 3 && back > lines.length * 0.25;
}

function separator(previous: Line, line: Line, columnRight: number): Line['before'] {
  const drop = previous.y - line.y;
  const size = Math.max(previous.size, line.size);
  if (drop < 0 || drop > PARAGRAPH_GAP * size || Math.abs(previous.size - line.size) > 0.15 * size) return '\n\n';
  // A Chinese line that fills its column goes on in the next one; a newline there would split words.
  const full = previous.right >= columnRight - 1.6 * previous.size;
  const wraps = full && endsInCjk(previous.text) && startsWithCjk(line.text) && !/[。！？：；]$/.test(previous.text);
  return wraps && line.x <= previous.x + previous.size && !line.text.includes('\t') ? '' : '\n';
}
