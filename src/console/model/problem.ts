import { ClientError } from '../../client/errors.ts';

/** A failure as views show it: `wordsFor` has words for the code, or shows the message. */
export interface Problem {
  code: string;
  message: string;
}

export function describe(error: unknown): Problem {
  if (error instanceof ClientError) return { code: error.code, message: error.message };
  return { code: 'internal', message: error instanceof Error ? error.message : String(error) };
}
