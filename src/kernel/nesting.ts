/** How deeply a parsed value is nested; without recursion, which the sender could make as deep as he likes. */

/** Deeper than any request of ours, and than a metadata filter may be. */
export const MAX_NESTING = 24;

/** Whether anything lies below so many levels of objects and arrays; the value itself is the first. */
export function isNestedDeeper(value: unknown, levels: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    level = level.filter((entry) => typeof entry === 'object' && entry !== null && !ArrayBuffer.isView(entry));
    if (depth === levels) return level.length > 0;
    level = level.flatMap((entry) => Object.values(entry as object));
  }
  return false;
}
