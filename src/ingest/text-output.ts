/**
 * Where extractors put a document's text: into memory or into a file, piece by piece, so that a long text is never held
 * whole. All text passes through here, so that what reaches anybody is clean, and no longer than allowed.
 */
import { writeSync } from 'node:fs';
import { createCleaner, hasContent } from './clean-text.ts';
import { ExtractError } from './extract-error.ts';

export interface TextOutput {
  /** Adds raw text; it is cleaned on the way, so what it becomes may be of another length. */
  write(raw: string): void;
  /** Adds text that is clean already. */
  writeClean(text: string): void;
  /** Writes what was held back, and returns the length of the text in UTF-16 units. Throws `empty` where it says nothing. */
  end(): number;
  /** UTF-16 units of clean text so far. */
  readonly chars: number;
  /** Where each clean piece goes as well, before the next one; for finding headings. */
  onPiece: (piece: string) => void;
}

/** `sink` is given clean, well-formed pieces in order. `write` throws `too_large` past `maxChars`. */
function createTextOutput(sink: (piece: string) => void, maxChars: number): TextOutput {
  const cleaner = createCleaner();
  let said = false;
  let chars = 0;

  function writeClean(piece: string): void {
    if (piece === '') return;
    if (chars + piece.length > maxChars) throw tooLarge(maxChars);
    chars += piece.length;
    said ||= hasContent(piece);
    output.onPiece(piece);
    sink(piece);
  }

  const output: TextOutput = {
    write: (raw) => writeClean(cleaner.push(raw)),
    writeClean,
    end() {
      writeClean(cleaner.end());
      if (!said) throw new ExtractError('empty', 'The document has no text in it.');
      return chars;
    },
    get chars() {
      return chars;
    },
    onPiece: () => {},
  };
  return output;
}

export function textInMemory(maxChars: number): TextOutput & { text(): string } {
  const pieces: string[] = [];
  const output = createTextOutput((piece) => pieces.push(piece), maxChars);
  return Object.assign(output, { text: () => pieces.join('') });
}

const FLUSH_CHARS = 256 * 1024;

/** Writes UTF-8 to an open file, synchronously: the process has nothing else to do. `close` it by the descriptor. */
export function textInFile(descriptor: number, maxChars: number): TextOutput {
  let held: string[] = [];
  let heldChars = 0;
  function flush(): void {
    const bytes = Buffer.from(held.join(''), 'utf8');
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
    held = [];
    heldChars = 0;
  }
  const output = createTextOutput((piece) => {
    held.push(piece);
    heldChars += piece.length;
    if (heldChars >= FLUSH_CHARS) flush();
  }, maxChars);
  const { end } = output;
  output.end = () => {
    const chars = end();
    flush();
    return chars;
  };
  return output;
}

export function tooLarge(maxChars: number): ExtractError {
  const shown = maxChars.toLocaleString('en');
  return new ExtractError('too_large', `The document has more than the ${shown} characters of text allowed.`);
}
