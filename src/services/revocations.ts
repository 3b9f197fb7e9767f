/**
 * Which sessions have ended before their access tokens expire. Asked for by every request, so an answer is kept in this
 * process for up to two seconds: that is how long a session may outlive its logout on another node. Redis answers;
 * where it does not, PostgreSQL does, because it is the truth: a Redis that is down neither lets an ended session in nor
 * locks anybody out. A Redis that lost its data forgets ended sessions until their access tokens expire.
 */
import type { Clock } from '../kernel/clock.ts';
import type { SessionMarks } from '../redis/session-marks.ts';

export interface Revocations {
  revoke(sessionId: string): Promise<void>;
  isRevoked(sessionId: string): Promise<boolean>;
}

export interface RevocationsOptions {
  marks: SessionMarks;
  /** What the database says of the session. */
  truth(sessionId: string): Promise<boolean>;
  clock: Clock;
  /** An access token lives no longer, so neither does the mark. */
  accessTtlSeconds: number;
}

const KEEP_MS = 2_000;
const MOST_KEPT = 10_000;
/**
 * A Redis that hangs must not hang every request with it. Waited for in steps: each is a turn of the event loop, so answers
 * that this process is too busy to have read are not taken for missing, and a crowd that comes back asks no database.
 */
const PATIENCE_MS = 300;
const PATIENCE_STEPS = 10;

export function createRevocations({ marks, truth, clock, accessTtlSeconds }: RevocationsOptions): Revocations {
  const answers = new Map<string, { answer: Promise<boolean>; until: number }>();

  function keep(sessionId: string, answer: Promise<boolean>): Promise<boolean> {
    if (answers.size >= MOST_KEPT) answers.clear();
    answers.set(sessionId, { answer, until: clock.now() + KEEP_MS });
    return answer;
  }

  function afterPatience(give: () => void): () => void {
    let cancel = () => {};
    const step = (left: number) => {
      cancel = clock.after(PATIENCE_MS / PATIENCE_STEPS, () => (left > 1 ? step(left - 1) : give()));
    };
    step(PATIENCE_STEPS);
    return () => cancel();
  }

  async function ask(sessionId: string): Promise<boolean> {
    const late = Promise.withResolvers<never>();
    const cancel = afterPatience(() => late.reject(new Error('Redis is late')));
    try {
      return await Promise.race([marks.has(sessionId), late.promise]);
    } catch {
      // Redis failed or is late: the database knows as well, at the price of a query.
      return truth(sessionId);
    } finally {
      cancel();
    }
  }

  return {
    async revoke(sessionId) {
      void keep(sessionId, Promise.resolve(true));
      await marks.mark(sessionId, accessTtlSeconds);
    },
    isRevoked(sessionId) {
      const known = answers.get(sessionId);
      if (known && known.until > clock.now()) return known.answer;
      const answer = keep(sessionId, ask(sessionId));
      // A question that failed is asked again by the next request.
      answer.catch(() => answers.delete(sessionId));
      return answer;
    },
  };
}
