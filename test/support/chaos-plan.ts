/** What happens in one seeded run, and when: decided by the seed alone, before anything happens. */
import { createRandom, type Random } from './chaos-random.ts';
import { SABOTAGE_CODES, SABOTAGED, type Sabotage } from './chaos-sabotage.ts';
import type { Fault } from './fake-openai.ts';
import type { ProxyMode } from './tcp-proxy.ts';

export type Use =
  /** `copies` times at once. */
  | { type: 'upload'; tenant: number; input: number; copies: number }
  /** Of what the tenant has at that moment, the one that `choice` points at; nothing where it has none. */
  | { type: 'delete' | 'cancel' | 'retry' | 'stop-turn'; tenant: number; choice: number }
  /** `copies` times at once with one client message id. */
  | { type: 'ask'; tenant: number; conversation: number; copies: number };

export type Break =
  | { type: 'kill' | 'terminate' | 'terminate-twice'; worker: number }
  | { type: 'freeze'; worker: number; ms: number }
  | { type: 'kill-server' }
  | { type: 'flush-redis' }
  | { type: 'delete-streams' | 'destroy-groups' }
  /** Redis is again what it was so many milliseconds ago, knows no script, and has dropped everybody. */
  | { type: 'redis-fails-over'; ms: number }
  /** Redis has no memory left: it refuses what would need some. */
  | { type: 'redis-full'; ms: number }
  | { type: 'kill-backends'; share: number }
  /** PostgreSQL lets nobody in beyond so many, after all were thrown out. */
  | { type: 'few-connections'; limit: number; ms: number }
  | ({ type: 'sabotage'; ms: number } & Sabotage)
  /** Somebody holds rows, or the whole table as a migration would. */
  | { type: 'lock'; table: (typeof LOCKED)[number]; whole: boolean; ms: number }
  | { type: 'network'; to: 'redis' | 'postgres' | 'provider'; mode: ProxyMode; ms: number }
  | { type: 'provider'; route: 'chat' | 'embeddings'; faults: Fault[] };

export interface Step {
  /** Milliseconds after the start. */
  at: number;
  what: Use | Break;
}

export interface Plan {
  readonly seed: number;
  readonly tenants: number;
  /** Sections of each input of a tenant; 0: an input that cannot be read. */
  readonly inputs: readonly number[];
  readonly conversations: number;
  readonly steps: readonly Step[];
}

export interface PlanOptions {
  seed: number;
  workers: number;
  uses?: number;
  breaks?: number;
  lengthMs?: number;
}

export const LOCKED = ['tasks', 'documents', 'tenant_load', 'turns', 'conversations'] as const;

const TENANTS = 3;
const CONVERSATIONS = 2;
const INPUTS = 6;
const LONG_AGO = 'Fri, 31 Dec 1999 23:59:59 GMT';

export function isBreak(what: Use | Break): what is Break {
  return !('tenant' in what);
}

function use(random: Random): Use {
  const tenant = random.between(0, TENANTS - 1);
  const choice = random.between(0, 99);
  const copies = random.chance(0.3) ? random.between(2, 4) : 1;
  return random.weighted<() => Use>([
    [9, () => ({ type: 'upload', tenant, input: random.between(0, INPUTS - 1), copies })],
    [2, () => ({ type: 'delete', tenant, choice })],
    [2, () => ({ type: 'cancel', tenant, choice })],
    [2, () => ({ type: 'retry', tenant, choice })],
    [7, () => ({ type: 'ask', tenant, conversation: random.between(0, CONVERSATIONS - 1), copies })],
    [1, () => ({ type: 'stop-turn', tenant, choice })],
  ])();
}

function providerFault(random: Random): Break {
  const faults: Fault[] = Array.from({ length: random.between(1, 3) }, () =>
    random.weighted<Fault>([
      [3, { type: 'status', status: 429, retryAfter: '1' }],
      // As nobody should say it: at once, before now, as a date that is over, in words.
      [1, { type: 'status', status: 429, retryAfter: random.pick(['0', '-5', LONG_AGO, 'soon']) }],
      [2, { type: 'status', status: 500 }],
      [1, { type: 'html' }],
      [1, { type: 'hang' }],
    ]),
  );
  if (random.chance(0.5)) {
    const special: Fault = random.pick([
      { type: 'short' },
      { type: 'dimensions', dimensions: 63 },
      { type: 'broken-base64' },
    ] as const);
    return { type: 'provider', route: 'embeddings', faults: [...faults, special] };
  }
  const tokens = random.between(1, 20);
  const special: Fault = random.pick([
    { type: 'truncate', tokens },
    { type: 'error-mid', tokens },
    { type: 'hang-mid', tokens },
  ] as const);
  return { type: 'provider', route: 'chat', faults: [...faults, special] };
}

function networkFault(random: Random): Break {
  const ms = random.between(100, 1_500);
  const to = random.weighted([
    [4, 'redis'],
    [3, 'postgres'],
    [2, 'provider'],
  ] as const);
  const mode = random.pick<ProxyMode>([
    { type: 'latency', ms: random.between(5, 60) },
    { type: 'cut-after-request' },
    { type: 'cut-mid-reply' },
    { type: 'reset' },
    { type: 'refuse' },
    // Of PostgreSQL nothing but a deadline of a minute would end it: what is frozen is cut when all is healed.
    { type: 'half-open' },
  ]);
  return { type: 'network', to, mode, ms };
}

function sabotage(random: Random): Break {
  return {
    type: 'sabotage',
    table: random.pick(SABOTAGED),
    atCommit: random.chance(0.3),
    code: random.pick(SABOTAGE_CODES),
    share: random.pick([0.1, 0.3, 1]),
    ms: random.between(200, 1_500),
  };
}

function breakage(random: Random, workers: number): Break {
  const worker = random.between(0, workers - 1);
  return random.weighted<() => Break>([
    [5, () => ({ type: 'kill', worker })],
    [2, () => ({ type: 'terminate', worker })],
    [1, () => ({ type: 'terminate-twice', worker })],
    [3, () => ({ type: 'freeze', worker, ms: random.between(500, 5_000) })],
    [1, () => ({ type: 'kill-server' })],
    [2, () => ({ type: 'flush-redis' })],
    [2, () => ({ type: random.pick(['delete-streams', 'destroy-groups']) })],
    [2, () => ({ type: 'redis-fails-over', ms: random.between(100, 2_000) })],
    [2, () => ({ type: 'redis-full', ms: random.between(300, 2_500) })],
    [3, () => ({ type: 'kill-backends', share: random.pick([0.3, 1]) })],
    [1, () => ({ type: 'few-connections', limit: random.between(1, 6), ms: random.between(300, 2_000) })],
    [4, () => sabotage(random)],
    [
      2,
      () => ({
        type: 'lock',
        table: random.pick(LOCKED),
        whole: random.chance(0.3),
        ms: random.between(100, 2_500),
      }),
    ],
    [4, () => networkFault(random)],
    [3, () => providerFault(random)],
  ])();
}

export function planOf({ seed, workers, uses = 28, breaks = 5, lengthMs = 3_000 }: PlanOptions): Plan {
  const random = createRandom(seed);
  const at = () => random.between(0, lengthMs);
  const sizes = () =>
    random.weighted([
      [5, random.between(1, 4)],
      [3, random.between(60, 140)],
      [1, 300],
      [1, 0],
    ] as const);
  const inputs = Array.from({ length: INPUTS }, sizes);
  const steps: Step[] = [
    ...Array.from({ length: uses }, () => ({ at: at(), what: use(random) })),
    ...Array.from({ length: breaks }, () => ({ at: at(), what: breakage(random, workers) })),
  ].toSorted((a, b) => a.at - b.at);
  return { seed, tenants: TENANTS, inputs, conversations: CONVERSATIONS, steps };
}
