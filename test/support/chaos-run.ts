/**
 * Carries out a plan against an installation and writes down what was promised: what was acknowledged, what was asked for,
 * what readers saw. People try again until they get an answer, as a client library does; only an answer is a promise.
 */
import { systemClock } from '../../src/kernel/clock.ts';
import { brokenInputOf, type Input, inputOf } from './chaos-documents.ts';
import { followTurn, type TurnView } from './chaos-follow.ts';
import type { Installation } from './chaos-installation.ts';
import { type Break, isBreak, type Plan, type Use } from './chaos-plan.ts';
import { type Answer, type Person, register } from './person.ts';
import { rememberAll } from './redis-rollback.ts';

export interface Upload {
  readonly input: Input;
  readonly documentId: string;
  readonly taskId: string;
  readonly duplicate: boolean;
}

export interface Turn {
  readonly turnId: string;
  readonly conversationId: string;
  readonly question: string;
  readonly view: Promise<TurnView>;
  stopAsked: boolean;
}

export interface Tenant {
  readonly id: string;
  readonly tag: string;
  readonly person: Person;
  readonly inputs: readonly Input[];
  readonly conversations: readonly string[];
  readonly uploads: Upload[];
  readonly turns: Turn[];
  /** Documents whose deletion was asked for; all of those requests were answered when the run is over. */
  readonly deleted: Set<string>;
  /** Tasks that somebody asked to cancel, or to try again. */
  readonly cancelAsked: Set<string>;
  readonly retryAsked: Set<string>;
}

export interface History {
  readonly plan: Plan;
  readonly tenants: readonly Tenant[];
  readonly crashesBefore: number;
  readonly alarmsBefore: number;
  /** Answers that a person should never get, whatever is broken. */
  readonly problems: string[];
  /** Milliseconds from the healing to the end of all work. */
  quietAfterMs: number;
}

/** How long people go on trying. */
const PATIENCE_MS = 60_000;
const PAUSE_MS = 100;
const ANSWER_MS = 20_000;
/** A half-open connection is found after 5 s and is made again after some more; loaded machines are slow. */
const SLACK_MS = 20_000;
/** On whatever machine. */
const LONGEST_QUIET_MS = 90_000;
const VIEWS_END_MS = 10_000;
const LOOK_EVERY_MS = 50;
const CUT_SHORT_EVERY_MS = 500;
/** Streams, ready and active sets, fairness: gone with the work. */
const QUEUE_KEY = /\}:(q|ready|active|fair):/;

/** So that a stream of tokens lasts for long enough to be cut. */
export const TOKEN_MS = 15;

/** The answer of the fake model: about a second of tokens that name the question, with a citation where there is a passage. */
export function chaosReply(body: Record<string, unknown>): string {
  const messages = Array.isArray(body['messages']) ? (body['messages'] as { content?: unknown }[]) : [];
  const prompt = String(messages.at(-1)?.content ?? '');
  const question = prompt.match(/question-[\w-]+/g)?.at(-1) ?? 'no question';
  const words = Array.from({ length: 40 }, (_, index) => `word${index}`).join(' ');
  return `An answer to ${question}: ${words}${prompt.includes('<passage-') ? ' [1]' : ''}.`;
}

/** The promise, or an error after so long: a request that hangs must not hang the run. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>();
  const cancel = systemClock.after(ms, () => late.reject(new Error(`no answer in ${ms} ms`)));
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    cancel();
  }
}

const isAnswer = ({ status }: Answer<unknown>) => status < 500 && status !== 429 && status !== 409;

export async function runPlan(installation: Installation, plan: Plan): Promise<History> {
  const { provider, network, workers, server, redis } = installation;
  const over = new AbortController();
  const problems: string[] = [];

  async function newTenant(number: number): Promise<Tenant> {
    const tag = `s${plan.seed}t${number}`;
    const person = await register(installation.url);
    const conversations: string[] = [];
    for (let i = 0; i < plan.conversations; i++) {
      const { body } = await person.call<{ id: string }>('POST', '/conversations', { title: `${tag} ${i}` });
      conversations.push(body.id);
    }
    return {
      id: person.session.tenant.id,
      tag,
      person,
      conversations,
      inputs: plan.inputs.map((sections, index) =>
        sections === 0 ? brokenInputOf(tag, index) : inputOf(tag, index, sections),
      ),
      uploads: [],
      turns: [],
      deleted: new Set(),
      cancelAsked: new Set(),
      retryAsked: new Set(),
    };
  }

  /** Asks until somebody answers; undefined when nobody does. */
  async function insist<T>(what: string, ask: () => Promise<Answer<T>>): Promise<Answer<T> | undefined> {
    const deadline = systemClock.now() + PATIENCE_MS;
    for (let last = 'nothing'; ; ) {
      try {
        const answer = await within(ANSWER_MS, ask());
        if (isAnswer(answer)) return answer;
        last = `${answer.status} ${JSON.stringify(answer.body)}`;
      } catch (error) {
        last = String(error);
      }
      if (systemClock.now() > deadline) {
        problems.push(`${what}: nobody answered for ${PATIENCE_MS} ms, at last ${last}`);
        return undefined;
      }
      await systemClock.sleep(PAUSE_MS);
    }
  }

  const tenants = await Promise.all(Array.from({ length: plan.tenants }, (_, index) => newTenant(index)));
  const history: History = {
    plan,
    tenants,
    crashesBefore: installation.crashes.length,
    alarmsBefore: installation.alarms().length,
    problems,
    quietAfterMs: 0,
  };

  async function upload(tenant: Tenant, input: Input): Promise<void> {
    const answer = await insist(`upload of ${input.mark}`, () => tenant.person.upload(input.content, input.filename));
    if (!answer) return;
    const { document_id: documentId, task_id: taskId, duplicate } = answer.body;
    if (answer.status !== 202 && answer.status !== 200)
      problems.push(`upload of ${input.mark} answered ${answer.status}`);
    else tenant.uploads.push({ input, documentId, taskId, duplicate });
  }

  async function ask(tenant: Tenant, conversation: number, copies: number): Promise<void> {
    const conversationId = tenant.conversations[conversation] ?? '';
    const question = `question-${crypto.randomUUID()}`;
    const body = { content: `What is the number of ${tenant.tag}? ${question}`, client_message_id: question };
    const path = `/conversations/${conversationId}/messages`;
    const answers = await Promise.all(
      Array.from({ length: copies }, () =>
        insist(question, () => tenant.person.call<{ turn_id: string }>('POST', path, body)),
      ),
    );
    const ids = new Set(answers.flatMap((answer) => (answer?.status === 202 ? [answer.body.turn_id] : [])));
    if (ids.size > 1) problems.push(`${question} sent ${copies} times made ${ids.size} turns`);
    for (const answer of answers)
      if (answer && answer.status !== 202) problems.push(`${question} was answered with ${answer.status}`);
    for (const turnId of ids) {
      const view = followTurn({ url: installation.url, token: tenant.person.token, turnId }, over.signal);
      tenant.turns.push({ turnId, conversationId, question, view, stopAsked: false });
    }
  }

  const chosen = <T>(items: readonly T[], choice: number) =>
    items.length === 0 ? undefined : items[choice % items.length];

  async function doUse(what: Use): Promise<void> {
    const tenant = tenants[what.tenant];
    if (!tenant) return;
    const { person } = tenant;
    switch (what.type) {
      case 'upload': {
        const input = tenant.inputs[what.input];
        if (input) await Promise.all(Array.from({ length: what.copies }, () => upload(tenant, input)));
        return;
      }
      case 'ask':
        return ask(tenant, what.conversation, what.copies);
      case 'delete': {
        const target = chosen(tenant.uploads, what.choice);
        if (!target) return;
        tenant.deleted.add(target.documentId);
        await insist('delete', () => person.call('DELETE', `/documents/${target.documentId}`));
        return;
      }
      case 'cancel': {
        const target = chosen(tenant.uploads, what.choice);
        if (!target) return;
        tenant.cancelAsked.add(target.taskId);
        await insist('cancel', () => person.call('POST', `/tasks/${target.taskId}/cancel`));
        return;
      }
      case 'retry': {
        const target = chosen(tenant.uploads, what.choice);
        if (!target) return;
        tenant.retryAsked.add(target.taskId);
        // Refused where there is nothing to retry: asked once.
        await within(ANSWER_MS, person.call('POST', `/tasks/${target.taskId}/retry`)).catch(() => undefined);
        return;
      }
      case 'stop-turn': {
        const target = chosen(tenant.turns, what.choice);
        if (!target) return;
        target.stopAsked = true;
        await insist('stop', () => person.call('POST', `/turns/${target.turnId}/cancel`));
      }
    }
  }

  async function streams(): Promise<string[]> {
    return redis.keys('dh:*:q:*');
  }

  async function doBreak(what: Break): Promise<void> {
    switch (what.type) {
      case 'kill':
        return workers[what.worker]?.kill();
      case 'terminate':
        return void (await workers[what.worker]?.terminate());
      case 'terminate-twice':
        return void (await workers[what.worker]?.terminate({ again: true }));
      case 'freeze':
        workers[what.worker]?.freeze();
        await systemClock.sleep(what.ms);
        return workers[what.worker]?.thaw();
      case 'kill-server':
        return server.kill();
      case 'flush-redis':
        return void (await redis.flushall());
      case 'delete-streams':
        for (const key of await streams()) await redis.del(key);
        return;
      case 'destroy-groups':
        for (const key of await streams()) await redis.xgroup('DESTROY', key, 'workers').catch(() => undefined);
        return;
      case 'redis-fails-over': {
        const goBack = await rememberAll(redis);
        await systemClock.sleep(what.ms);
        // The other server has memory, whatever the first one lacks at this moment.
        await Promise.all([redis.config('SET', 'maxmemory', '0'), goBack(), redis.script('FLUSH')]);
        return network.redis.cut();
      }
      case 'redis-full':
        await redis.config('SET', 'maxmemory', '1');
        await systemClock.sleep(what.ms);
        return void (await redis.config('SET', 'maxmemory', '0'));
      case 'kill-backends':
        return void (await installation.killBackends(what.share));
      case 'few-connections':
        await installation.limitConnections(what.limit);
        await installation.killBackends();
        await systemClock.sleep(what.ms);
        return installation.limitConnections(-1);
      case 'sabotage':
        await installation.sabotage.begin(what);
        await systemClock.sleep(what.ms);
        return installation.sabotage.end();
      case 'lock':
        return void (await installation.sql.begin(async (tx) => {
          if (what.whole) await tx`lock table ${tx(what.table)} in access exclusive mode`;
          else await tx`select 1 from ${tx(what.table)} order by random() limit 5 for update`;
          await systemClock.sleep(what.ms);
        }));
      case 'network':
        await network[what.to].set(what.mode);
        await systemClock.sleep(what.ms);
        return network[what.to].set({ type: 'pass' });
      case 'provider':
        return provider.next(what.route, ...what.faults);
    }
  }

  provider.always('chat', { type: 'slow', tokenMs: TOKEN_MS });
  const [uses, breaks]: Promise<void>[][] = [[], []];
  const beginning = systemClock.now();
  for (const { at, what } of plan.steps) {
    await systemClock.sleep(Math.max(0, beginning + at - systemClock.now()));
    if (isBreak(what)) breaks?.push(doBreak(what));
    else uses?.push(doUse(what));
  }
  await Promise.all(breaks ?? []);
  await installation.heal();
  const healed = systemClock.now();
  await Promise.all(uses ?? []);
  await untilQuiet(installation, healed);
  history.quietAfterMs = systemClock.now() - healed;
  await viewsEnd(tenants, over);
  return history;
}

/** Gives the readers a moment to hear the end of what has ended. */
async function viewsEnd(tenants: readonly Tenant[], over: AbortController): Promise<void> {
  const cancel = systemClock.after(VIEWS_END_MS, () => over.abort());
  await Promise.all(tenants.flatMap(({ turns }) => turns.map(({ view }) => view)));
  cancel();
}

/**
 * Waits until nothing is unfinished and Redis holds no work. Bounded by three visibility timeouts and what it takes to
 * find out about half-open connections; the pauses that a failing provider has earned are cut short meanwhile. Counted are
 * our own pauses and not the clock: where this process is kept from running, the workers are too.
 */
async function untilQuiet({ sql, redis, visibilityMs }: Installation, healed: number): Promise<void> {
  const mostPauses = (3 * visibilityMs + SLACK_MS) / LOOK_EVERY_MS;
  for (let [pauses, cutShort] = [0, 0]; ; pauses++) {
    const [row] = await sql<{ tasks: number; turns: number }[]>`
      select (select count(*)::int from tasks where status in ('queued', 'running')) as tasks,
        (select count(*)::int from turns where status in ('queued', 'running')) as turns`;
    const keys = (await redis.keys('dh:*')).filter((key) => QUEUE_KEY.test(key));
    if (row?.tasks === 0 && row.turns === 0 && keys.length === 0) return;
    if (pauses > mostPauses || systemClock.now() - healed > LONGEST_QUIET_MS) {
      const stuck =
        await sql`select 'task' as kind, id, status, attempt, retry_count, stage, error_code, run_at, handed_out_at, leased_until, now() as now
        from tasks where status in ('queued', 'running') union all
        select 'turn', id, status, attempt, retry_count, null, error_code, run_at, handed_out_at, leased_until, now() from turns where status in ('queued', 'running')`;
      throw new Error(
        `stuck ${systemClock.now() - healed} ms after healing: ${JSON.stringify([...stuck], null, 1)}, in Redis ${keys.join(' ')}`,
      );
    }
    if (systemClock.now() - cutShort > CUT_SHORT_EVERY_MS) {
      cutShort = systemClock.now();
      for (const table of ['tasks', 'turns']) {
        await sql`update ${sql(table)} set run_at = now() where status = 'queued' and handed_out_at is null and run_at > now()`;
      }
    }
    await systemClock.sleep(LOOK_EVERY_MS);
  }
}
