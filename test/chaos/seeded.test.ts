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
import { eventually } from '../support/eventually.ts';

const WORKERS = 3;
const FIRST = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 20);

/** More than all waits of a run together may take: those fail with a reason. */
const LIMIT_MS = 240_000;

const OUTBOX_MS = 60_000;

let installation: Installation | undefined;

async function running(): Promise<Installation> {
  installation ??= await startInstallation({ workers: WORKERS, reply: chaosReply });
  return installation;
}

/** A run that failed may have left anything behind: the next one starts anew. */
async function abandon(): Promise<void> {
  const left = installation;
  installation = undefined;
  await left?.stop();
}

beforeAll(async () => void (await running()), LIMIT_MS);
afterAll(async () => {
  try {
    // Here, because tests run in any order. A relay that was killed keeps its lease for half a minute.
    const { sql } = await running();
    await eventually(
      'all that happened was told',
      async () => (await sql`select 1 from outbox limit 1`).length === 0,
      OUTBOX_MS,
    );
  } finally {
    await abandon();
  }
}, LIMIT_MS);

describe('whatever breaks, nothing accepted is lost and nothing is done twice', () => {
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    test(
      `seed ${seed}`,
      async () => {
        const plan = planOf({ seed, workers: WORKERS });
        try {
          const whole = await running();
          const { violations, figures } = await checkHistory(whole, await runPlan(whole, plan));
          const told = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
          say(`seed ${seed}: ${told.join(', ')}`);
          expect(violations).toEqual([]);
        } catch (error) {
          const steps = plan.steps.map((step) => JSON.stringify(step));
          say(`repeat with SEED=${seed} RUNS=1; the plan was\n${steps.join('\n')}`);
          await abandon();
          throw error;
        }
      },
      LIMIT_MS,
    );
  }
});
