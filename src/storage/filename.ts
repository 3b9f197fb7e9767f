/** File names are labels: shown, searched and sent back in headers, never used as a path. */
const MAX_CHARS = 255;
const FALLBACK = 'file';

/**
 * The last part of whatever path was sent, without control and direction-changing characters (`exe.‮fdp` reads as
 * `exe.pdf`), at most 255 characters long with its extension kept. `file` where nothing is left.
 */
export function toFilename(raw: string | undefined): string {
  const base = (raw ?? '').toWellFormed().split(/[/\\]/).at(-1) ?? '';
  const clean = base
    .replace(/[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, '')
    .normalize('NFC')
    .trim();
  if (clean === '' || clean === '.' || clean === '..') return FALLBACK;
  const chars = [...clean];
  if (chars.length <= MAX_CHARS) return clean;
  const dot = clean.lastIndexOf('.');
  const extension = dot > 0 ? [...clean.slice(dot)].slice(0, 16) : [];
  return [...chars.slice(0, MAX_CHARS - extension.length), ...extension].join('');
}
