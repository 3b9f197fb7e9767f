/** Why a document cannot be read, for the person who uploaded it: the task fails, and another attempt would not help. */
import type { ExtractFailureCode } from '../contracts/index.ts';

export class ExtractError extends Error {
  override readonly name = 'ExtractError';
  readonly code: ExtractFailureCode;

  /** `message` is shown word for word. */
  constructor(code: ExtractFailureCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

export const EXTRACT_FAILURE_CODES = [
  'unsupported_media_type',
  'encrypted',
  'corrupt',
  'empty',
  'needs_ocr',
  'too_large',
  'limits_exceeded',
  'parser_timeout',
  'parser_crashed',
] as const satisfies readonly ExtractFailureCode[];

/**
 * A parser that ran out of stack or memory met a document beyond our limits: nested too deeply or unpacking to too much.
 * Both are `RangeError`s in this engine. Anything else is returned as it is.
 */
export function toLimitError(error: unknown): unknown {
  if (!(error instanceof RangeError)) return error;
  return /memory/i.test(error.message)
    ? new ExtractError('limits_exceeded', 'The document needs more memory than a document may take.', error)
    : new ExtractError('limits_exceeded', 'The document is nested too deeply to be read.', error);
}
