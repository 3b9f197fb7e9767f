/**
 * The one place that decides what extracted text may look like. Every offset in DreamHub counts in the cleaned text, so
 * a change here is a new pipeline version.
 *
 * - newlines are `\n`, whatever they were (CR, CRLF, NEL, U+2028, vertical tab, form feed)
 * - no NUL and no other control character but tab and newline; nothing invisible inside words either (soft hyphens,
 *   zero-width spaces, byte order marks, invisible operators). Joiners stay: emoji and Persian need them
 * - well-formed: half a surrogate pair becomes U+FFFD, because databases and embedders refuse it
 * - NFC: the same word typed on two systems is the same text, and Korean or accented text from a Mac is found. Not NFKC,
 *   which would rewrite what people see (½, ①, full-width forms)
 */
export function cleanText(raw: string): string {
  return raw
    .replace(/\r\n?|[\v\f\u0085\u2028\u2029]/g, '\n')
    .replace(/[\0-\x08\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060-\u2064\ufeff]/g, '')
    .toWellFormed()
    .normalize('NFC');
}

/** True where a text has something to read: a letter, a digit or a symbol, not blanks and rules alone. */
export function hasContent(text: string): boolean {
  return /[\p{L}\p{N}\p{S}]/u.test(text);
}
