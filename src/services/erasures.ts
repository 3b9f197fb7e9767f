/**
 * Orders to erase, as people give them. In the transaction of the order whoever goes is a member of nothing any more, has no
 * key and no session, and the e-mail and the tenant's name are free; what there is of them is removed by a worker
 * (`erasing.ts`), in practice at once. Who has asked may read the report with the access token that it was asked with.
 *
 * What is the tenant's stays the tenant's: documents that all may see go on under the owner of longest standing. Only an
 * owner erases the tenant, and says its name, so that nobody does it by accident. The last owner of a tenant with other
 * members has to make somebody else one first; a tenant whose only member goes, goes too, since it would be nobody's.
 */
import type {
  AccessTokens,
  ErasureResource,
  Page,
  PageRequest,
  Principal,
  PrivacyScope,
  Reach,
} from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope } from '../kernel/context.ts';
import { AppError } from '../kernel/errors.ts';
import { type Ids, isUuid } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Control } from '../realtime/control.ts';
import { getProfile, removeAccount } from '../repositories/accounts.ts';
import { closeTenant } from '../repositories/erasure-rows.ts';
import { type ErasureRow, getErasure, insertErasure, listErasures } from '../repositories/erasures.ts';
import { deleteMembership, isLastOwner, listRoles } from '../repositories/memberships.ts';
import { revokeFamiliesOf } from '../repositories/refresh-tokens.ts';
import { fencePrivateSources } from '../repositories/sources.ts';
import type { Identity } from './identity.ts';
import { idCursor, toPage } from './paging.ts';
import type { Principals } from './principals.ts';

export interface ErasureRequest {
  scope: PrivacyScope;
  /** The tenant's name, for the scope `tenant`. */
  confirm?: string;
}

export interface Erasures {
  order(request: ErasureRequest, by: Principal): Promise<ErasureResource>;
  /** For who has ordered it. */
  get(id: string): Promise<ErasureResource>;
  /** For the operator, without a scope; a tenant's administrators see what is about their tenant and not settled. */
  list(reach: Reach, page: PageRequest): Promise<Page<ErasureResource>>;
  find(reach: Reach, id: string): Promise<ErasureResource>;
  /**
   * Whose access token this is, though its session has ended, where it reads the report of an erasure that it has asked for;
   * called in no scope, for what `Principals.prove` refused.
   */
  witness(bearer: string, id: string): Promise<Principal | null>;
}

export interface ErasuresOptions {
  database: Database;
  tokens: Pick<AccessTokens, 'verify'>;
  identity: Pick<Identity, 'changing'>;
  control: Pick<Control, 'endUser' | 'endTenant'>;
  principals: Pick<Principals, 'forget'>;
  clock: Clock;
  ids: Ids;
  logger: Logger;
}

const notFound = () => new AppError('not_found', 'There is no such erasure.');
const lastOwner = () =>
  new AppError('conflict', 'A tenant keeps an owner: make somebody else one first, or erase the tenant.');

function toErasure({ whole, of_tenant: _t, of_user: _u, attempt, ...row }: ErasureRow): ErasureResource {
  const { id, scope, started_at: started, finished_at: finished, deleted } = row;
  return {
    id,
    scope,
    whole_tenant: whole,
    status: finished ? 'done' : started ? 'running' : 'queued',
    requested_at: row.requested_at.toISOString(),
    deadline: row.deadline.toISOString(),
    finished_at: finished?.toISOString() ?? null,
    settled_at: row.settled_at?.toISOString() ?? null,
    attempts: attempt,
    deleted,
  };
}

export function createErasures(options: ErasuresOptions): Erasures {
  const { database, tokens, identity, control, principals, clock, ids, logger } = options;

  function assertConfirmed(name: string, confirm: string | undefined): void {
    if (confirm?.trim().toLowerCase() === name.toLowerCase()) return;
    throw new AppError('invalid_request', 'To erase a tenant, say its name in `confirm`.', {
      errors: [{ path: '/confirm', message: 'The name of the tenant is needed here' }],
    });
  }

  return {
    async order({ scope, confirm }, { role }) {
      const { tenantId, userId, traceId } = currentScope();
      if (scope === 'tenant' && role !== 'owner') throw new AppError('forbidden', 'Only an owner erases a tenant.');
      const who = { tenantId, userId };
      const [profile, members] = await database.tenant((sql) => Promise.all([getProfile(sql), listRoles(sql)]));
      if (!profile) throw notFound();
      if (scope === 'tenant') assertConfirmed(profile.tenantName, confirm);
      // Marked before the commit, as whoever is removed: a mark too many costs a query.
      const all = scope === 'tenant' || members.length === 1;
      for (const id of all ? members.map((member) => member.id) : [userId]) await identity.changing(id);
      const at = new Date(clock.now());
      const row = await database
        .together(
          async (shared) => {
            const now = await shared.within(who, (sql) => listRoles(sql, { locked: true }));
            if (!now.some(({ id }) => id === userId)) throw notFound();
            if (scope === 'tenant' && !now.some(({ id, role }) => id === userId && role === 'owner')) {
              throw new AppError('forbidden', 'Only an owner erases a tenant.');
            }
            const whole = scope === 'tenant' || now.length === 1;
            // Somebody has joined, or left, since they were marked.
            if (whole && now.some(({ id }) => !members.some((member) => member.id === id))) {
              throw new AppError('conflict', 'Members come and go at this moment: try again.', { retryAfterMs: 1_000 });
            }
            const order = { id: ids.uuid(), scope, whole, tenantId, userId };
            const inserted = await shared.system((sql) => insertErasure(sql, order));
            if (whole) {
              await shared.system((sql) => closeTenant(sql, tenantId, at));
              return inserted;
            }
            await shared.within(who, async (sql) => {
              await fencePrivateSources(sql);
              await deleteMembership(sql, userId);
            });
            await shared.system(async (sql) => {
              await removeAccount(sql, who, at);
              await revokeFamiliesOf(sql, who, at);
            });
            return inserted;
          },
          { patient: true },
        )
        .catch((error: unknown) => {
          throw isLastOwner(error) ? lastOwner() : error;
        });
      if (row.whole) {
        principals.forget({ kind: 'tenant', tenantId });
        await control.endTenant('erased');
      } else {
        principals.forget({ kind: 'user', tenantId, id: userId });
        await control.endUser(userId, 'erased');
      }
      logger.info(
        { event: 'erasure.ordered', erasure_id: row.id, scope, whole: row.whole, trace_id: traceId },
        'audit',
      );
      return toErasure(row);
    },

    async get(id) {
      const { tenantId, userId } = currentScope();
      const row = await database.system((sql) => getErasure(sql, id));
      if (row?.of_tenant !== tenantId || row.of_user !== userId) throw notFound();
      return toErasure(row);
    },

    async list(reach, { limit, cursor }) {
      const rows = await database.system((sql) =>
        listErasures(sql, reach, { limit: limit + 1, after: idCursor(cursor) }),
      );
      return toPage(rows, limit, { cursor: (row) => row.id, item: toErasure });
    },

    async find(reach, id) {
      const row = await database.system((sql) => getErasure(sql, id));
      if (!row || (reach.kind === 'tenant' && row.of_tenant !== reach.tenantId)) throw notFound();
      return toErasure(row);
    },

    async witness(bearer, id) {
      const principal = isUuid(id) ? await tokens.verify(bearer) : null;
      if (!principal) return null;
      const row = await database.system((sql) => getErasure(sql, id));
      if (row?.of_tenant !== principal.tenantId || row.of_user !== principal.userId) return null;
      // Good for nothing else: it may do what everybody may.
      return { ...principal, role: 'viewer', scopes: [] };
    },
  };
}
