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
