/**
 * The only way to the database. Every statement runs in a transaction whose first statement sets role and tenant
 * together, for that transaction only; it is pipelined with the first query, so it costs no round trip of its own.
 * The session's own role has no rights, so a statement that came by any other way would be refused.
 *
 * Nothing is kept in a session. Behind a pooler not even what is: no statement is prepared, because the next transaction
 * may be another session's; and the time limits, which start-up would set, are set by each transaction's first statement.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import postgres from 'postgres';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import { isUuid } from '../kernel/ids.ts';
import { within } from '../kernel/within.ts';

export type Sql = postgres.TransactionSql<{ bigint: number }>;

export type ScopedFunction = 'corpus_generation' | 'confirm_documents' | 'confirm_chunks';

/** A transaction that several scopes share: it is entered for one after the other. */
export interface SharedTransaction {
  /** As `dreamhub_tenant`, in a scope. Waits for what was asked for before: a transaction is in one scope at a time. */
  within<T>(scope: Who, fn: (sql: Sql) => Promise<T>): Promise<T>;
  /** As `dreamhub_system`, in no scope. */
  system<T>(fn: (sql: Sql) => Promise<T>): Promise<T>;
}

export interface Database {
  /** Runs `fn` in a transaction as `dreamhub_tenant` for the ambient scope; throws where none was entered. */
  tenant<T>(fn: (sql: Sql) => Promise<T>): Promise<T>;
  /**
   * Runs `fn` in a transaction of several scopes: all of it is committed, or none. Unless it is `patient`, it fails where a
   * lock is not to be had at once, because what one of them waits for, all would wait for.
   */
  together<T>(fn: (shared: SharedTransaction) => Promise<T>, options?: { patient: boolean }): Promise<T>;
  /**
   * As `tenant`, for what only reads: the transaction may change nothing, and its end is not waited for. What was read is as
   * true before that as after.
   */
  read<T>(fn: (sql: Sql) => Promise<T>): Promise<T>;
  /**
   * What a function of the database answers that enters the ambient scope by itself (`sql/0171_one_message.sql`), given tenant
   * and user before `args`. One statement is a transaction by itself: one message to the server, and one back.
   */
  call<T>(name: ScopedFunction, args: readonly (string | number)[]): Promise<T>;
  /** Runs `fn` in a transaction as `dreamhub_system`: what spans tenants, and what precedes them. */
  system<T>(fn: (sql: Sql) => Promise<T>): Promise<T>;
  /** Runs `fn` in a transaction as `dreamhub_owner`: new partitions and indexes, nothing else. */
  owner<T>(fn: (sql: Sql) => Promise<T>): Promise<T>;
  /**
   * Runs statements as `dreamhub_owner` one by one, outside of transactions and without time limits, in a session of their
   * own: what PostgreSQL refuses inside a transaction (an index built beside writers, VACUUM). Undefined where sessions are
   * not ours to keep: behind a pooler, and in the embedded database.
   */
  readonly maintain: ((statements: readonly string[]) => Promise<void>) | undefined;
  /** The server can COPY: the embedded one hangs on it. */
  readonly copies: boolean;
  /** Throws `unavailable` when the database does not answer within `timeoutMs`. */
  check(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** `postgres://…`, or postgres.js options for a socket that a URL cannot name. */
  url: string;
  /** Migrates and makes partitions; absent: the same login. */
  ownerUrl?: string;
  /** Connections of the pool. */
  max: number;
  /** The embedded server has one backend: server-side timeouts are not set there (they hang it). */
  embedded: boolean;
  /** As `describeServer` tells of each address. Default: false. */
  pooled?: boolean;
  ownerPooled?: boolean;
  /** As `describeServer` tells: whether `transactionSeconds` can be kept. Default: false. */
  limitsTransactions?: boolean;
  /** How long a transaction may take, in seconds; more than one of its statements may. Default: 40. */
  transactionSeconds?: number;
  /** The role each session has outside our transactions, where the login itself has rights. */
  sessionRole?: string;
  /** Seconds of silence after which a server is taken for gone; more than it lets a statement take. Default: 75. */
  silenceSeconds?: number;
  clock?: Clock;
}

/**
 * In milliseconds. Nobody waits for anything but the database inside a transaction, so one that is idle belongs to a
 * process that stands still, and whoever takes over waits for its locks. A process that stands still between the messages
 * of one statement is not idle to the server, which cancels nothing either while it waits for a message: only the limit of
 * the whole transaction ends that, where the server has one.
 */
const LIMITS = { statement_timeout: 30_000, lock_timeout: 20_000, idle_in_transaction_session_timeout: 10_000 };

/**
 * Of a transaction that several share: milliseconds for a lock, and plans that are kept. How many rows a batch has the planner
 * would look at each time anew, which takes longer than to find them.
 */
const SHARED_LIMITS = { lock_timeout: 100, plan_cache_mode: 'force_generic_plan' };

const SILENCE_SECONDS = 75;
const TRANSACTION_SECONDS = 40;

/** int8 comes back as a number: sizes and counts stay far below 2^53. */
const types = {
  bigint: { to: 20, from: [20], serialize: (value: number) => String(value), parse: (value: string) => Number(value) },
};

/**
 * Seconds before a connection that broke is made again. The library counts every broken connection of the pool as another
 * try, so that its own backoff makes callers wait 20 s after one restart of the server.
 */
const backoff = (retries: number): number => Math.min(1, 0.05 * 2 ** retries);

export interface ConnectOptions {
  max: number;
  embedded: boolean;
  pooled?: boolean | undefined;
  sessionRole?: string | undefined;
  silenceSeconds?: number | undefined;
  limitsTransactions?: boolean | undefined;
  transactionSeconds?: number | undefined;
}

/** What each session, or behind a pooler each transaction, is limited to. */
function limitsOf({ limitsTransactions = false, transactionSeconds = TRANSACTION_SECONDS }: ConnectOptions): Settings {
  return { ...LIMITS, ...(limitsTransactions && { transaction_timeout: transactionSeconds * 1_000 }) };
}

export function connect(url: string, options: ConnectOptions): postgres.Sql<{ bigint: number }> {
  const { max, embedded, pooled = false, sessionRole, silenceSeconds = SILENCE_SECONDS } = options;
  return postgres(url, {
    max,
    types,
    onnotice: () => {},
    connect_timeout: 10,
    backoff,
    // A half-open connection would keep its transaction, and its place in the pool, for as long as TCP tries: 15 minutes.
    silence_timeout: embedded ? null : silenceSeconds,
    idle_timeout: embedded ? 0 : 60,
    prepare: !pooled,
    connection: {
      application_name: 'dreamhub',
      // A pooler refuses whoever asks for these at the start.
      ...(!embedded && !pooled && { ...limitsOf(options), ...(sessionRole && { role: sessionRole }) }),
    },
  }) as postgres.Sql<{ bigint: number }>;
}

/** One connection that asks for nothing that a pooler could refuse. */
export const connectPlainly = (url: string): postgres.Sql<{ bigint: number }> =>
  connect(url, { max: 1, embedded: false, pooled: true });

type Role = 'dreamhub_tenant' | 'dreamhub_system' | 'dreamhub_owner';

interface Who {
  readonly tenantId: string;
  readonly userId: string;
}

/** Settings of one transaction beside its role and scope. */
type Settings = Readonly<Record<string, string | number>>;

/** What each transaction begins with; not sent yet. */
function enter(tx: Sql, role: Role, who: Who | undefined, settings: Settings) {
  if (Object.keys(settings).length > 0) return enterPlainly(tx, role, who, settings);
  return who
    ? tx`select set_config('role', ${role}, true), set_config('app.tenant_id', ${who.tenantId}, true),
         set_config('app.user_id', ${who.userId}, true)`
    : tx`select set_config('role', ${role}, true)`;
}

/** Has no parameters: with them, what is not prepared is described first, and the first query would wait for that. */
function enterPlainly(tx: Sql, role: Role, who: Who | undefined, more: Settings) {
  const settings = { role, ...(who && { 'app.tenant_id': who.tenantId, 'app.user_id': who.userId }), ...more };
  if (who && !(isUuid(who.tenantId) && isUuid(who.userId))) throw new AppError('internal', 'A scope has no UUID.');
  const calls = Object.entries(settings).map(([name, value]) => `set_config('${name}', '${value}', true)`);
  return tx.unsafe(`select ${calls.join(', ')}`);
}

/** What is deferred to the end of the transaction is done in the scope that it belongs to; not sent yet. */
const settleDeferred = (tx: Sql) => tx.unsafe('set constraints all immediate; set constraints all deferred');

/** `tx` is in `dreamhub_system` as it comes, and is left in whatever was entered last. */
function shareTransaction(tx: Sql): SharedTransaction & { settled(): Promise<void> } {
  let inScope = false;
  let last: Promise<unknown> = Promise.resolve();

  /** Sends it, after what the scope before has left to do. */
  function enterNext(role: Role, who: Who | undefined): Promise<unknown> {
    const left = inScope ? settleDeferred(tx).execute() : undefined;
    inScope = who !== undefined;
    const entered = tx`
      select set_config('role', ${role}, true), set_config('app.tenant_id', ${who?.tenantId ?? ''}, true),
        set_config('app.user_id', ${who?.userId ?? ''}, true)`;
    return Promise.all([left, entered.execute()]);
  }
  /** After one that failed nothing counts: the transaction is lost. */
  function next<T>(run: () => Promise<T>): Promise<T> {
    const value = last.then(run);
    last = value;
    return value;
  }
  /** As in each transaction, sent before the first query and together with it. */
  async function entering<T>(entered: Promise<unknown> | undefined, fn: (sql: Sql) => Promise<T>): Promise<T> {
    const [, value] = await Promise.all([entered, fn(tx)]);
    return value;
  }
  return {
    within: (scope, fn) => next(() => entering(enterNext('dreamhub_tenant', scope), fn)),
    system: (fn) => next(() => entering(inScope ? enterNext('dreamhub_system', undefined) : undefined, fn)),
    async settled() {
      await last;
      if (inScope) await settleDeferred(tx);
    },
  };
}

/** Codes of postgres.js and of the server for a connection that is gone or cannot be had; the outcome may be unknown. */
const AWAY =
  /^(CONNECTION_(CLOSED|ENDED|DESTROYED|SILENT)|CONNECT_TIMEOUT|ECONNREFUSED|ECONNRESET|EPIPE|ENOENT|ETIMEDOUT|08\w{3}|57P0[1235]|25P0[34]|53300)$/;
/** A server that only reads: a standby that is not promoted yet. Of a transaction that was to write. */
const ONLY_READS = '25006';

function isAway(error: unknown): boolean {
  return error instanceof Error && 'code' in error && AWAY.test(String(error.code));
}

const isReadOnly = (error: unknown) => error instanceof Error && 'code' in error && error.code === ONLY_READS;

const insideTransaction = new AsyncLocalStorage<true>();

/** On a server with one backend an inner transaction would wait for the outer one for ever. */
function assertOutside(): void {
  if (insideTransaction.getStore()) {
    throw new AppError('internal', 'A transaction was opened inside a transaction.');
  }
}

function failed(error: unknown, readsOnly = false): never {
  throw isAway(error) || (!readsOnly && isReadOnly(error))
    ? new AppError('unavailable', 'The database is not available.', { cause: error, retryAfterMs: 1_000 })
    : error;
}

function answerOf<T>(rows: readonly { answer: T }[]): T {
  const [row] = rows;
  if (!row) throw new AppError('internal', 'A function of the database gave no answer.');
  return row.answer;
}

/** As `Database.maintain`. Building an index is silent for as long as it takes. */
async function runAlone(url: string, statements: readonly string[]): Promise<void> {
  const sql = postgres(url, {
    max: 1,
    onnotice: () => {},
    connect_timeout: 10,
    connection: { application_name: 'dreamhub maintenance', role: 'dreamhub_owner', statement_timeout: 0 },
  });
  try {
    for (const statement of statements) await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

export function createDatabase(options: DatabaseOptions): Database {
  const pool = connect(options.url, options);
  const ownerPool =
    options.ownerUrl === undefined || options.ownerUrl === options.url
      ? pool
      : connect(options.ownerUrl, { max: 1, embedded: options.embedded, pooled: options.ownerPooled });
  const limits = limitsOf(options);
  const isPooled = (on: typeof pool) => (on === pool ? options.pooled : options.ownerPooled) ?? false;

  async function transaction<T>(
    on: postgres.Sql<{ bigint: number }>,
    role: Role,
    scope: Who | undefined,
    fn: (sql: Sql) => Promise<T>,
    settings: Settings = {},
    readsOnly = false,
  ): Promise<T> {
    assertOutside();
    const early = Promise.withResolvers<{ value: T }>();
    const ended = insideTransaction
      .run(true, () =>
        on.begin(readsOnly ? 'read only' : '', async (sql) => {
          const tx = sql as unknown as Sql;
          const entered = enter(tx, role, scope, isPooled(on) ? { ...limits, ...settings } : settings);
          // Sent now, awaited with the first query: if it fails, the transaction is aborted and so is the query.
          const settled = entered.execute().then(
            () => undefined,
            (error: unknown) => ({ error }),
          );
          const value = await fn(tx);
          const failure = await settled;
          if (failure) throw failure.error;
          if (readsOnly) early.resolve({ value });
          return { value };
        }),
      )
      .catch((error: unknown) => failed(error, readsOnly));
    // A read that has its answer hears nothing of how its transaction ends.
    const result = await (readsOnly ? Promise.race([early.promise, ended]) : ended);
    return (result as { value: T }).value;
  }

  function together<T>(
    fn: (shared: SharedTransaction) => Promise<T>,
    { patient }: { patient: boolean } = { patient: false },
  ): Promise<T> {
    // The embedded server has one session, which waits for no other one's locks.
    const settings = patient || options.embedded ? {} : SHARED_LIMITS;
    const run = async (tx: Sql) => {
      const shared = shareTransaction(tx);
      const value = await fn(shared);
      await shared.settled();
      return value;
    };
    return transaction(pool, 'dreamhub_system', undefined, run, settings);
  }

  /** Nothing is prepared behind a pooler: there the statement goes the way of all others. */
  async function call<T>(name: ScopedFunction, args: readonly (string | number)[]): Promise<T> {
    const scope = currentScope();
    const values = [scope.tenantId, scope.userId, ...args];
    const text = `select ${name}(${values.map((_, i) => `$${i + 1}`).join(', ')}) as answer`;
    const ask = (sql: Pick<Sql, 'unsafe'>) => sql.unsafe<{ answer: T }[]>(text, values, { prepare: !isPooled(pool) });
    if (isPooled(pool)) return answerOf(await transaction(pool, 'dreamhub_tenant', scope, (sql) => ask(sql), {}, true));
    assertOutside();
    return answerOf(await ask(pool as unknown as Sql).catch((error: unknown) => failed(error)));
  }

  const ownerUrl = options.ownerUrl ?? options.url;
  const isOwnerPooled = isPooled(ownerPool);

  return {
    maintain: options.embedded || isOwnerPooled ? undefined : (statements) => runAlone(ownerUrl, statements),
    copies: !options.embedded,
    tenant: async (fn) => transaction(pool, 'dreamhub_tenant', currentScope(), fn),
    read: async (fn) => transaction(pool, 'dreamhub_tenant', currentScope(), fn, {}, true),
    together,
    call,
    system: async (fn) => transaction(pool, 'dreamhub_system', undefined, fn),
    owner: async (fn) => transaction(ownerPool, 'dreamhub_owner', undefined, fn),
    async check(timeoutMs) {
      try {
        await within(options.clock ?? systemClock, timeoutMs, pool`select 1`, () => {
          throw new Error(`no answer in ${timeoutMs} ms`);
        });
      } catch (cause) {
        throw new AppError('unavailable', 'The database does not answer.', { cause });
      }
    },
    async close() {
      await pool.end({ timeout: 5 });
      if (ownerPool !== pool) await ownerPool.end({ timeout: 5 });
    },
  };
}
