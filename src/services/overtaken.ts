/** Transactions that begin anew because another one came in between. */
import { AppError } from '../kernel/errors.ts';

/** Thrown inside a transaction, so that it is rolled back. */
export class Overtaken extends Error {
  override readonly name = 'Overtaken';
}

const TRIES = 10;

/** Runs `transact` until it is not overtaken; `conflict` where that goes on. Each try is a transaction of its own. */
export async function untilNotOvertaken<T>(transact: () => Promise<T>): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      return await transact();
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error;
    }
  }
  throw new AppError('conflict', 'Too much is happening to this document at once: try again.');
}
