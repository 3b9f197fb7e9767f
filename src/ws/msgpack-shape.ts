/**
 * Looks over MessagePack without building it. The decoder reserves an array as soon as its length is announced, so a few
 * kilobytes of nested announcements would reserve gigabytes; here every announcement must be covered by bytes that are
 * there, and nesting has an end. https://github.com/msgpack/msgpack/blob/master/spec.md
 */

/** Bytes that follow the first one of a scalar, for 0xca…0xd8 (floats, integers, fixed extensions). */
const FIXED = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17];

/** True for exactly one value that is nested at most `maxDepth` deep. */
export function isPlausible(bytes: Uint8Array, maxDepth: number): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bytes.byteLength;
  /** Values still to come, by level. */
  const open: number[] = [1];
  let at = 0;

  /** An unsigned number of `width` bytes; NaN past the end. */
  const number = (width: number): number => {
    const from = at;
    at += width;
    if (at > size) return Number.NaN;
    return width === 1 ? view.getUint8(from) : width === 2 ? view.getUint16(from) : view.getUint32(from);
  };

  /** Passes over the bytes that an announced length covers. `at += number(…)` would add to where `at` was before. */
  const skip = (width: number, extra = 0): void => {
    const length = number(width);
    at += extra + length;
  };

  while (open.length > 0) {
    const left = open.at(-1) ?? 0;
    if (left === 0) {
      open.pop();
      continue;
    }
    open[open.length - 1] = left - 1;
    const type = number(1);
    let items = 0;
    if (type <= 0x7f || type >= 0xe0 || type === 0xc0 || type === 0xc2 || type === 0xc3) continue;
    if (type <= 0x8f) items = 2 * (type & 0x0f);
    else if (type <= 0x9f) items = type & 0x0f;
    else if (type <= 0xbf) at += type & 0x1f;
    else if (type >= 0xc4 && type <= 0xc6) skip(2 ** (type - 0xc4));
    else if (type >= 0xc7 && type <= 0xc9) skip(2 ** (type - 0xc7), 1);
    else if (type >= 0xca && type <= 0xd8) at += FIXED[type - 0xca] ?? 0;
    else if (type >= 0xd9 && type <= 0xdb) skip(2 ** (type - 0xd9));
    else if (type === 0xdc || type === 0xdd) items = number(type === 0xdc ? 2 : 4);
    else if (type === 0xde || type === 0xdf) items = 2 * number(type === 0xde ? 2 : 4);
    else return false;
    if (!(at <= size && items <= size - at)) return false;
    if (items > 0 && open.push(items) > maxDepth + 1) return false;
  }
  return at === size;
}
