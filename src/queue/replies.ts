/** Checks the shapes of script replies: what arrives from Redis is `unknown` until it was looked at. */
class ReplyError extends Error {
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
