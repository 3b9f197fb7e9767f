/**
 * Seeded runs of use and breakage, each followed by the check of its whole history. `SEED=s RUNS=n` repeats: a seed decides
 * what happens and when; what the machine makes of it varies, so a seed that failed may have to be run more than once.
 */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { checkHistory } from '../support/chaos-history.ts';
import { type Installation, startInstallation } from '../support/chaos-installation.ts';
import { planOf } from '../support/chaos-plan.ts';
import { chaosReply, runPlan } from '../support/chaos-run.ts';
import { say } from '../support/chaos-say.ts';

const WORKERS = 3;
const FIRST = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 20);

let installation: Installation;
beforeAll(async () => {
  installation = await startInstallation({ workers: WORKERS, reply: chaosReply });
}, 120_000);
afterAll(() => installation?.stop());

describe('whatever breaks, nothing accepted is lost and nothing is done twice', () => {
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    test(`seed ${seed}`, async () => {
      const plan = planOf({ seed, workers: WORKERS });
      try {
        const { violations, figures } = await checkHistory(installation, await runPlan(installation, plan));
        say(
          `seed ${seed}: ${Object.entries(figures)
            .map(([name, value]) => `${name} ${value}`)
            .join(', ')}`,
        );
        expect(violations).toEqual([]);
      } catch (error) {
        say(
          `repeat with SEED=${seed} RUNS=1; the plan was\n${plan.steps.map((step) => JSON.stringify(step)).join('\n')}`,
        );
        throw error;
      }
    });
  }
});
