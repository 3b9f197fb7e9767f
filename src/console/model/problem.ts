import { ClientError } from '../../client/errors.ts';

/** A failure as views show it: `wordsFor` has words for the code, or shows the message. */
export interface Problem {
  code: string;
  message: string;
}

/** A problem that may be gone at another try. */
export interface Failure {
  problem: Problem;
  again(): void;
}

export function describe(error: unknown): Problem {
  if (error instanceof ClientError) return { code: error.code, message: error.message };
  return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
}

/** The same request may succeed later: nothing is wrong with what was asked. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof ClientError)) return false;
  return error.status === 0 || error.status === 429 || error.status >= 500;
}

/** Deletes; what somebody else deleted before is deleted too. */
export async function ensureGone(deleting: Promise<unknown>): Promise<void> {
  try {
    await deleting;
  } catch (error) {
    if (!(error instanceof ClientError) || error.code !== 'not_found') throw error;
  }
}
