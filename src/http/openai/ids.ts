/** How rows of ours are called by clients of OpenAI's API: a prefix that says what it is, and the row's own id. */
import { AppError } from '../../kernel/errors.ts';
import { isUuid } from '../../kernel/ids.ts';

type Prefix = 'file' | 'chatcmpl';

const FILE: Prefix = 'file';

export const toFileId = (documentId: string) => `${FILE}-${documentId}`;
export const toCompletionId = (turnId: string) => `chatcmpl-${turnId}`;

/** The row that an id names, with its prefix or bare. Throws `not_found` for what names none. */
function rowOf(prefix: Prefix, id: string): string {
  const bare = id.startsWith(`${prefix}-`) ? id.slice(prefix.length + 1) : id;
  if (!isUuid(bare)) throw new AppError('not_found', `There is no such ${prefix}.`);
  return bare.toLowerCase();
}

export const documentOf = (fileId: string) => rowOf(FILE, fileId);
