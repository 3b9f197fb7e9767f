/** Whether PostgreSQL can keep every text in a value: none may hold NUL or half a surrogate pair, as a key of it neither. */
export function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0');
  if (Array.isArray(value)) return value.every(isStorable);
  if (value !== null && typeof value === 'object') {
    return Object.entries(value).every(([key, entry]) => isStorable(key) && isStorable(entry));
  }
  return true;
}
