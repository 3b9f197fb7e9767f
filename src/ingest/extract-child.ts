/**
 * Entry of the extraction child (`sandbox.ts` starts it): takes one job at a time over its channel, leaves the document
 * in a file, answers in a word, and ends when the channel closes. It knows no secrets: its environment is empty.
 */
import { writeFile } from 'node:fs/promises';
import { messageOf } from '../kernel/errors.ts';
import { ExtractError } from './extract-error.ts';
import { extractFile } from './extract-file.ts';
import { encodeResult, isJob, type JobMessage, type ReplyMessage } from './extract-protocol.ts';

async function work(job: JobMessage): Promise<ReplyMessage> {
  try {
    const document = await extractFile(job, job);
    await writeFile(job.resultPath, encodeResult(document), { mode: 0o600 });
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
