/**
 * What of an access token is no longer true before it expires: its session has ended, or its user has another role or none.
 * Asked for by every request, so an answer is kept in this process for up to two seconds, and forgotten at once when the
 * order to end comes by; two seconds is how long it may be believed on a node that missed the order. Redis answers: a mark
 * says that a session has ended, or that a user has changed, and then PostgreSQL says to what. Where Redis does not answer,
 * PostgreSQL does, because it is the truth: a Redis that is down neither lets anybody in nor locks anybody out. A Redis that
 * lost its data forgets its marks until the access tokens expire.
 */
import type { Principal, Role } from '../contracts/index.ts';
import type { Clock } from '../kernel/clock.ts';
import { AppError } from '../kernel/errors.ts';
import type { Ended } from '../realtime/control.ts';
import type { SessionMarks } from '../redis/session-marks.ts';

export interface Revocations {
  /** The session has ended. */
  revoke(session: Pick<Principal, 'sessionId' | 'tenantId' | 'userId'>): Promise<void>;
  /**
   * The user's role is about to change, or to go. Called before that is committed: a mark too many costs a query, one too
   * few would leave somebody in. Throws `unavailable` where it cannot be kept.
   */
  changing(userId: string): Promise<void>;
  /** The principal as it is now; null where it is over. */
  confirm(principal: Principal): Promise<Principal | null>;
  /** An order to end was heard: what is believed of it may be older. */
  forget(ended: Ended): void;
}

export interface RevocationsOptions {
  marks: SessionMarks;
  /** What the database says that the user of the session is; undefined where either is over. */
  truth(principal: Principal): Promise<Role | undefined>;
  clock: Clock;
  /** An access token lives no longer, so neither does the mark. */
  accessTtlSeconds: number;
}

const KEEP_MS = 2_000;
const MOST_KEPT = 10_000;
/** A transaction that was marked before it began takes no longer until it is committed (`db/database.ts`). */
const COMMIT_SECONDS = 60;
/**
 * A Redis that hangs must not hang every request with it. Waited for in steps: each is a turn of the event loop, so answers
 * that this process is too busy to have read are not taken for missing, and a crowd that comes back asks no database.
 */
const PATIENCE_MS = 300;
const PATIENCE_STEPS = 10;

/** `as told`: what the token says is true. */
type Standing = Role | 'as told' | 'over';

interface Kept {
  answer: Promise<Standing>;
  until: number;
  tenantId: string;
  userId: string;
}

async function kept(mark: Promise<void>): Promise<void> {
  try {
    await mark;
  } catch (cause) {
    throw new AppError('unavailable', 'This cannot be told to all servers right now.', { cause, retryAfterMs: 1_000 });
  }
}

export function createRevocations({ marks, truth, clock, accessTtlSeconds }: RevocationsOptions): Revocations {
  const answers = new Map<string, Kept>();

  function afterPatience(give: () => void): () => void {
    let cancel = () => {};
    const step = (left: number) => {
      cancel = clock.after(PATIENCE_MS / PATIENCE_STEPS, () => (left > 1 ? step(left - 1) : give()));
    };
    step(PATIENCE_STEPS);
    return () => cancel();
  }

  /** Null where Redis failed or is late. */
  async function lookInTime(principal: Principal) {
    const late = Promise.withResolvers<null>();
    const cancel = afterPatience(() => late.resolve(null));
    try {
      return await Promise.race([marks.look(principal), late.promise]);
    } catch {
      return null;
    } finally {
      cancel();
    }
  }

  async function ask(principal: Principal): Promise<Standing> {
    const marked = await lookInTime(principal);
    if (marked?.ended) return 'over';
    if (marked && !marked.changed) return 'as told';
    // The database knows as well, at the price of a query.
    return (await truth(principal)) ?? 'over';
  }

  function standing(principal: Principal): Promise<Standing> {
    const { sessionId, tenantId, userId } = principal;
    const known = answers.get(sessionId);
    if (known && known.until > clock.now()) return known.answer;
    if (answers.size >= MOST_KEPT) answers.clear();
    const kept: Kept = { answer: ask(principal), until: clock.now() + KEEP_MS, tenantId, userId };
    answers.set(sessionId, kept);
    // A question that failed is asked again by the next request.
    kept.answer.catch(() => answers.get(sessionId) === kept && answers.delete(sessionId));
    return kept.answer;
  }

  return {
    async revoke({ sessionId, tenantId, userId }) {
      // Here it is known whether or not the mark can be kept.
      answers.set(sessionId, { answer: Promise.resolve('over'), until: clock.now() + KEEP_MS, tenantId, userId });
      await kept(marks.markEnded(sessionId, accessTtlSeconds));
    },
    async changing(userId) {
      await kept(marks.markChanged(userId, accessTtlSeconds + COMMIT_SECONDS));
    },
    async confirm(principal) {
      const now = await standing(principal);
      if (now === 'over') return null;
      return now === 'as told' || now === principal.role ? principal : { ...principal, role: now };
    },
    forget(ended) {
      if (ended.kind === 'session') answers.delete(ended.id);
      else {
        for (const [sessionId, { tenantId, userId }] of answers) {
          if (tenantId === ended.tenantId && (ended.kind === 'tenant' || userId === ended.id))
            answers.delete(sessionId);
        }
      }
    },
  };
}
