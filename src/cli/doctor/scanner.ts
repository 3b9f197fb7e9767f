/** The scanner: uploads are refused with 503 while it does not answer. */
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../kernel/clock.ts';
import { messageOf } from '../../kernel/errors.ts';
import type { Ids } from '../../kernel/ids.ts';
import { createClamd } from '../../storage/clamd.ts';
import { type DoctorEnvironment, type Finding, problem, well } from './finding.ts';

const CHECK = 'clamd';

export async function examineScanner(
  { clamav }: DoctorEnvironment,
  { clock, ids }: { clock: Clock; ids: Ids },
): Promise<Finding[]> {
  if (!clamav) return [well(CHECK, 'None is configured: uploads are not scanned.')];
  const path = join(tmpdir(), `dreamhub-doctor-${ids.uuid()}`);
  try {
    await writeFile(path, 'a harmless file');
    const { type } = await createClamd({ address: clamav, clock, idleMs: 5_000, answerMs: 20_000 }).scan(path);
    if (type === 'clean') return [well(CHECK, 'It scans.')];
    return [problem(CHECK, `It says ${type} of a harmless file.`, 'Look at its signatures and limits.')];
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
    return [
      problem(
        CHECK,
        `CLAMAV_URL does not answer: ${cause}`,
        'Start clamd, or unset CLAMAV_URL: until then every upload gets 503.',
      ),
    ];
  } finally {
    await rm(path, { force: true });
  }
}
