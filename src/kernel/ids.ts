/** Ids are injected like time. UUIDv7 sorts by creation time, which keeps B-tree inserts at the right edge. */
export interface Ids {
  uuid(): string;
}

export const systemIds: Ids = { uuid: () => Bun.randomUUIDv7() };

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** True for the text form of any UUID; a path parameter that is none of these cannot name a row. */
export function isUuid(value: string): boolean {
  return UUID.test(value);
}

/**
 * An id that sorts behind all of `others`: `id` where it does, else one right behind the last of them. Clocks of several
 * processes differ, so of two ids the later one need not be the greater.
 */
export function laterThan(id: string, others: readonly string[]): string {
  const last = others.toSorted().at(-1) ?? '';
  if (id > last) return id;
  const next = (BigInt(`0x${last.replaceAll('-', '')}`) + 1n).toString(16).padStart(32, '0');
  return next.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
