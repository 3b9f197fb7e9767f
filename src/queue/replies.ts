/** Checks the shapes of script replies: what arrives from Redis is `unknown` until it was looked at. */
export class ReplyError extends Error {
  override readonly name = 'ReplyError';
}

export function asList(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new ReplyError(`a list was expected, not ${typeof value}`);
  return value;
}

export function asText(value: unknown): string {
  if (typeof value !== 'string') throw new ReplyError(`a text was expected, not ${typeof value}`);
  return value;
}

export function asInteger(value: unknown): number {
  if (typeof value !== 'number') throw new ReplyError(`a number was expected, not ${typeof value}`);
  return value;
}

/** Fields and values in turn, as an object. */
export function asFields(value: unknown): Record<string, string> {
  const list = asList(value).map(asText);
  const fields: Record<string, string> = {};
  for (let i = 0; i + 1 < list.length; i += 2) fields[list[i] ?? ''] = list[i + 1] ?? '';
  return fields;
}
