/** Why a source, or one item of it, could not be read: in words for the person who added it. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  /** When the other side wants to be asked again, if it said so. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: ErrorOptions & { retryAfterMs?: number | undefined } = {}) {
    super(message, options);
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The source itself, and not one item of it: the sync fails, nothing is removed, and it is tried again. */
export class SourceUnavailable extends SourceError {}
