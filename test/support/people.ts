/** Identity, members and API keys of one installation, as a server wires them, and several such nodes of it. */
import type { Principal, Role, Session } from '../../src/contracts/index.ts';
import { createAccessTokens } from '../../src/http/plugins/jwt.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newTraceId, runAs } from '../../src/kernel/context.ts';
import { AppError } from '../../src/kernel/errors.ts';
import { systemIds } from '../../src/kernel/ids.ts';
import { type Logger, silentLogger } from '../../src/kernel/logger.ts';
import { createControl } from '../../src/realtime/control.ts';
import { createApiKeys } from '../../src/services/api-keys.ts';
import { createIdentity } from '../../src/services/identity.ts';
import { createMembers } from '../../src/services/members.ts';
import { createOwnedDocuments } from '../../src/services/ownership.ts';
import { createPrincipals } from '../../src/services/principals.ts';
import { movableClock } from './movable-clock.ts';
import { createRig } from './rig.ts';

const PASSWORD = 'correct horse battery';
const ORIGIN = 'https://hub.example';

export type People = Awaited<ReturnType<typeof createPeople>>;

export async function createPeople({ logger = silentLogger }: { logger?: Logger } = {}) {
  const rig = await createRig();
  const { database, clients, keys } = rig;
  const clock = movableClock();
  const tokens = createAccessTokens({ secrets: ['a secret of more than thirty-two bytes'], clock });
  const closers: (() => Promise<void>)[] = [];
  let count = 0;

  /** A server of the installation, which hears orders as every other does. */
  async function startNode(config: { registration?: 'open' | 'invite' | 'closed' } = {}) {
    const control = createControl({ clients, keys, clock: systemClock, logger: silentLogger });
    await control.start();
    closers.push(() => control.stop());
    const identity = createIdentity({
      database,
      tokens,
      clients,
      keys,
      clock,
      ids: systemIds,
      config: { registration: 'open', accessTtlSeconds: 900, refreshTtlSeconds: 30 * 86_400, ...config },
      endSession: (sessionId) => control.endSession(sessionId),
    });
    const apiKeys = createApiKeys({ database, control, clock, ids: systemIds, logger });
    const principals = createPrincipals({ tokens, identity, apiKeys });
    control.onEnded(principals.forget);
    const { tasks, chat } = rig;
    const members = createMembers({
      ...{ database, identity, principals, control, tasks, chat, clock, logger },
      ids: systemIds,
    });
    const documents = createOwnedDocuments({ database, documents: rig.documents });
    return { control, identity, apiKeys, principals, members, documents };
  }

  const node = await startNode();

  const fresh = () => {
    count += 1;
    return { tenant: `Tenant ${count}`, email: `person${count}@example.com`, password: PASSWORD };
  };

  async function as<T>(bearer: Session | string, fn: (principal: Principal) => Promise<T>): Promise<T> {
    const principal = await node.principals.prove(typeof bearer === 'string' ? bearer : bearer.access_token);
    if (!principal) throw new AppError('unauthenticated', 'The bearer is not valid.');
    const { tenantId, userId } = principal;
    return runAs({ tenantId, userId, traceId: newTraceId() }, () => fn(principal));
  }

  const people = {
    rig,
    clock,
    ...node,
    startNode,
    fresh,
    as,
    found: () => node.identity.register(fresh()),
    invite: (by: Session, email: string, role: Role) => as(by, () => node.members.invite({ email, role }, ORIGIN)),
    /** Invited and joined. */
    async join(owner: Session, role: Role): Promise<Session> {
      const { email, password } = fresh();
      const { invite } = await people.invite(owner, email, role);
      return node.identity.register({ tenant: owner.tenant.name, email, password, invite });
    },
    login: ({ user, tenant }: Session) =>
      node.identity.login(
        { email: user.email, password: PASSWORD, tenant: tenant.name },
        { ip: '198.51.100.7', traceId: newTraceId() },
      ),
    refresh: ({ refresh_token }: Session) =>
      node.identity.refresh(refresh_token, { ip: '198.51.100.7', traceId: newTraceId() }),
    setRole: (by: Session, who: Session, role: Role) => as(by, () => node.members.setRole(who.user.id, role)),
    remove: (by: Session, who: Session) => as(by, () => node.members.remove(who.user.id)),
    key: (of: Session, more: Partial<Parameters<typeof node.apiKeys.create>[0]> = {}) =>
      as(of, (principal) => node.apiKeys.create({ name: 'a key', ...more }, principal)),
    async close() {
      for (const close of closers) await close();
      await rig.close();
    },
  };
  return people;
}

/** The error that a promise is refused with. */
export async function refusal(promise: Promise<unknown>): Promise<AppError> {
  const error = await promise.then(
    () => new Error('it was not refused'),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof AppError)) throw error;
  return error;
}

export const kindOf = async (promise: Promise<unknown>) => (await refusal(promise)).kind;
