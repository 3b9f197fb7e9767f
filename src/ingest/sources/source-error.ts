/** Why a source, or one item of it, could not be read: in words for the person who added it. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
}

/** The source itself, and not one item of it: the sync fails, nothing is removed, and it is tried again. */
export class SourceUnavailable extends SourceError {}
