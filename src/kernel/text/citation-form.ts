/**
 * How models write citations: `[1]`, `[1, 2]`, `[1-3]`, `【1】`, `［１］`, `[Source 2]`, `[来源2]`, `[^1]`, `【1†title】`. One form for
 * what lets them through and for what makes sources of them.
 */
const DIGITS = String.raw`[\d\uff10-\uff19]{1,3}`;
const DASH = String.raw`[-\u2010-\u2015~\uff5e]`;
const SEPARATOR = String.raw`(?:${DASH}|[,\uff0c\u3001;\uff1b])`;
const NAME = String.raw`(?:\^|(?:sources?|passages?|来源|來源|出处|出處|引用|段落|文档|文件)\s*[:\uff1a#]?\s*)?`;

/** Source of a case-insensitive expression; its one group is the numbers. */
export const CITATION_FORM = String.raw`[[\u3010\uff3b]\s*${NAME}(${DIGITS}(?:\s*${SEPARATOR}\s*${DIGITS})*)\s*(?:\u2020[^\]\u3011\uff3d\n]{0,80})?[\]\u3011\uff3d]`;

/** A longer range is no range. */
const MAX_RANGE = 20;
const RANGE = new RegExp(String.raw`^(\d+)\s*${DASH}\s*(\d+)$`);

/** The numbers of a citation, each once, as they stand there; of what is no range its two ends. */
export function numbersOf(group: string): number[] {
  const numbers = group
    .normalize('NFKC')
    .split(/[,\u3001;]/)
    .flatMap((piece) => {
      const [, first, last] = RANGE.exec(piece.trim()) ?? [];
      if (first === undefined || last === undefined) {
        return piece.split(new RegExp(DASH)).map((number) => Number.parseInt(number, 10));
      }
      const [from, to] = [Number(first), Number(last)];
      if (to < from || to - from > MAX_RANGE) return [from, to];
      return Array.from({ length: to - from + 1 }, (_, index) => from + index);
    });
  return [...new Set(numbers)];
}
