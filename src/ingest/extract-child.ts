/**
 * Entry of the extraction child (`sandbox.ts` starts it): takes one job at a time over its channel, leaves the document
 * in files, answers in a word, and ends when the channel closes. It knows no secrets: its environment is empty.
 */
import { messageOf } from '../kernel/errors.ts';
import { ExtractError } from './extract-error.ts';
import { isJob, type JobMessage, type ReplyMessage } from './extract-protocol.ts';
import { leaveResult } from './extract-result.ts';

async function work(job: JobMessage): Promise<ReplyMessage> {
  try {
    await leaveResult(job, { ...job, onRecognising: () => process.send?.({ type: 'recognising' }) });
    return { type: 'done' };
  } catch (error) {
    const message = messageOf(error).slice(0, 1000);
    if (error instanceof ExtractError) return { type: 'refused', code: error.code, message };
    const system = error instanceof Error && 'syscall' in error;
    return { type: system ? 'fault' : 'crashed', message };
  }
}

process.on('disconnect', () => process.exit(0));
process.on('message', (message: unknown) => {
  if (!isJob(message)) process.exit(1);
  void work(message).then((reply) => process.send?.(reply));
});
