/**
 * Who is in the tenant. Owners and admins invite; an invitation is a token that is shown once and kept as a hash, and who
 * registers with it joins. Rules are judged on roles that are locked in the deciding transaction, so two who act at once
 * cannot both be right; that a tenant keeps an owner, the database itself sees to.
 *
 * Whoever leaves or gets another role is marked before the commit and ended after it, on every node. Who left never comes
 * back as the same user: the e-mail invited again makes another account. Tenant-visible documents stay; private ones stay
 * for administrators to see by name and delete; private work under way is cancelled, since nobody could see its end.
 */
import {
  type MemberResource,
  type NewMember,
  type Page,
  type PageRequest,
  ROLES,
  type Role,
} from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import type { Clock } from '../kernel/clock.ts';
import { currentScope, runAs } from '../kernel/context.ts';
import { AppError, messageOf } from '../kernel/errors.ts';
import type { Ids } from '../kernel/ids.ts';
import type { Logger } from '../kernel/logger.ts';
import type { Control } from '../realtime/control.ts';
import { removeAccount } from '../repositories/accounts.ts';
import {
  deleteInvitation,
  deleteInvitationsBy,
  lockInvitation,
  putInvitation,
  surveyInvitations,
  updateInvitedRole,
} from '../repositories/invitations.ts';
import {
  deleteMembership,
  findOrphanedWork,
  getMember,
  isLastOwner,
  lastSeen,
  listMembers,
  lockRoles,
  type MemberRow,
  updateRole,
} from '../repositories/memberships.ts';
import { revokeFamiliesOf } from '../repositories/refresh-tokens.ts';
import { fencePrivateSources } from '../repositories/sources.ts';
import { newToken, normaliseEmail } from './credentials.ts';
import type { Identity } from './identity.ts';
import { idCursor, toPage } from './paging.ts';
import type { Principals } from './principals.ts';

export interface Members {
  /** In the place of an earlier invitation of the same e-mail. `origin` is where the console is: `https://host`. */
  invite(request: { email: string; role: Role }, origin: string): Promise<NewMember>;
  list(page: PageRequest): Promise<Page<MemberResource>>;
  setRole(id: string, role: Role): Promise<MemberResource>;
  /** A member, oneself included, or an invitation. */
  remove(id: string): Promise<void>;
}

export interface MembersOptions {
  database: Database;
  identity: Pick<Identity, 'changing'>;
  control: Pick<Control, 'endUser'>;
  principals: Pick<Principals, 'forget'>;
  tasks: { cancel(id: string): Promise<unknown> };
  chat: { cancel(id: string): Promise<unknown> };
  clock: Clock;
  ids: Ids;
  logger: Logger;
}

const INVITATION_DAYS = 7;
const MOST_INVITATIONS = 500;
const DAY_MS = 86_400_000;

const notFound = () => new AppError('not_found', 'There is no such member.');
const forbidden = (detail: string) => new AppError('forbidden', detail);
const lastOwner = () => new AppError('conflict', 'A tenant keeps an owner: make somebody else one first.');

/** Roles that somebody may give and take. */
function within(role: Role | undefined): readonly Role[] {
  if (role === 'owner') return ROLES;
  return role === 'admin' ? ROLES.filter((one) => one !== 'owner') : [];
}

/** Throws `forbidden` unless `actor` runs the tenant and has all of these roles to give and to take. */
function assertManages(actor: Role | undefined, ...roles: Role[]): void {
  const own = within(actor);
  if (own.length === 0) throw forbidden(`The role ${actor ?? 'of a stranger'} may not do this.`);
  if (roles.some((role) => !own.includes(role))) throw forbidden('Only an owner decides about owners.');
}

function toResource({ created_at, expires_at, ...row }: MemberRow, seen?: Date): MemberResource {
  return {
    ...row,
    created_at: created_at.toISOString(),
    last_seen_at: seen?.toISOString() ?? null,
    expires_at: expires_at?.toISOString() ?? null,
  };
}

export function createMembers(options: MembersOptions): Members {
  const { database, identity, principals, control, tasks, chat, clock, ids, logger } = options;

  const audit = (event: string, more: Record<string, unknown>) => {
    const { tenantId, userId, traceId } = currentScope();
    logger.info({ event, tenant_id: tenantId, user_id: userId, trace_id: traceId, ...more }, 'audit');
  };

  /** After the commit: nothing of theirs goes on as it was. */
  async function end(userId: string): Promise<void> {
    principals.forget({ kind: 'user', tenantId: currentScope().tenantId, id: userId });
    await control.endUser(userId);
  }

  async function find(id: string): Promise<MemberRow> {
    const member = await database.tenant((sql) => getMember(sql, id));
    if (!member) throw notFound();
    return member;
  }

  /** The roles of who acts and of who is acted on, which stay so until the transaction ends. */
  async function lockBoth(sql: Sql, actorId: string, id: string): Promise<{ actor: Role | undefined; target: Role }> {
    const roles = await lockRoles(sql, [actorId, id]);
    const target = roles.get(id);
    if (!target) throw notFound();
    return { actor: roles.get(actorId), target };
  }

  /** An invitation is changed by whoever could have made it. */
  async function changeInvitation(id: string, change: (sql: Sql) => Promise<void>, ...more: Role[]): Promise<void> {
    await database.tenant(async (sql) => {
      const { userId } = currentScope();
      const actor = (await lockRoles(sql, [userId])).get(userId);
      assertManages(actor, ...more);
      const role = await lockInvitation(sql, id);
      if (!role) throw notFound();
      assertManages(actor, role);
      await change(sql);
    });
  }

  async function cancelOrphans(userId: string, work: { tasks: string[]; turns: string[] }): Promise<void> {
    const { tenantId, traceId } = currentScope();
    await runAs({ tenantId, userId, traceId }, async () => {
      for (const [what, found] of [
        [tasks, work.tasks],
        [chat, work.turns],
      ] as const) {
        for (const id of found) {
          await what.cancel(id).catch((error: unknown) => {
            logger.warn({ err: error, id }, `work of a member who left goes on: ${messageOf(error)}`);
          });
        }
      }
    });
  }

  async function removeActive(id: string): Promise<void> {
    const { tenantId, userId: actorId } = currentScope();
    await identity.changing(id);
    const leaving = { tenantId, userId: id };
    const work = await database
      .together(
        async (shared) => {
          const found = await shared.within(leaving, async (sql) => {
            const { actor, target } = await lockBoth(sql, actorId, id);
            if (id !== actorId) assertManages(actor, target);
            const orphaned = await findOrphanedWork(sql);
            await fencePrivateSources(sql);
            await deleteMembership(sql, id);
            return orphaned;
          });
          await shared.system(async (sql) => {
            const at = new Date(clock.now());
            await removeAccount(sql, leaving, at);
            await revokeFamiliesOf(sql, leaving, at);
          });
          return found;
        },
        { patient: true },
      )
      .catch((error: unknown) => {
        throw isLastOwner(error) ? lastOwner() : error;
      });
    await end(id);
    audit('member.removed', { member_id: id });
    await cancelOrphans(id, work);
  }

  return {
    async invite({ email: typed, role }, origin) {
      const email = normaliseEmail(typed);
      const { token, hash } = newToken();
      const createdAt = new Date(clock.now());
      const expiresAt = new Date(createdAt.getTime() + INVITATION_DAYS * DAY_MS);
      const { userId } = currentScope();
      const { row, tenant } = await database.tenant(async (sql) => {
        const actor = (await lockRoles(sql, [userId])).get(userId);
        assertManages(actor, role);
        const before = await surveyInvitations(sql, email);
        if (before.role) assertManages(actor, before.role);
        else if (before.count >= MOST_INVITATIONS)
          throw new AppError('conflict', `A tenant has at most ${MOST_INVITATIONS} open invitations.`);
        const invitation = { id: ids.uuid(), email, role, tokenHash: hash, createdAt, expiresAt };
        const { id } = await putInvitation(sql, invitation);
        // Looked at last: who was joining at this moment has joined.
        const after = await surveyInvitations(sql, email);
        if (after.isMember) throw new AppError('conflict', 'This e-mail is a member already.');
        return { row: await getMember(sql, id), tenant: after.tenant };
      });
      if (!row) throw new AppError('internal', 'An invitation went before it was answered.');
      audit('member.invited', { member_id: row.id, role });
      const link = `${origin}/#/join?${new URLSearchParams({ tenant, email, invite: token })}`;
      return { ...toResource(row), invite: token, link };
    },

    async list({ limit, cursor }) {
      const rows = await database.tenant((sql) => listMembers(sql, { limit: limit + 1, after: idCursor(cursor) }));
      const { tenantId } = currentScope();
      const active = rows.filter(({ status }) => status === 'active').map(({ id }) => id);
      const seen = await database.system((sql) => lastSeen(sql, tenantId, active));
      return toPage(rows, limit, { cursor: (row) => row.id, item: (row) => toResource(row, seen.get(row.id)) });
    },

    async setRole(id, role) {
      const { status } = await find(id);
      if (status === 'invited') {
        await changeInvitation(id, (sql) => updateInvitedRole(sql, id, role), role);
        audit('member.role_changed', { member_id: id, role });
        return toResource(await find(id));
      }
      await identity.changing(id);
      await database
        .tenant(async (sql) => {
          const { actor, target } = await lockBoth(sql, currentScope().userId, id);
          assertManages(actor, target, role);
          await updateRole(sql, id, role);
          // Whom somebody has asked in as what he could not any more, is not asked in.
          const kept = within(role);
          await deleteInvitationsBy(
            sql,
            id,
            ROLES.filter((one) => !kept.includes(one)),
          );
        })
        .catch((error: unknown) => {
          throw isLastOwner(error) ? lastOwner() : error;
        });
      await end(id);
      audit('member.role_changed', { member_id: id, role });
      return toResource(await find(id));
    },

    async remove(id) {
      const { status } = await find(id);
      if (status === 'active') return removeActive(id);
      await changeInvitation(id, (sql) => deleteInvitation(sql, id));
      audit('member.uninvited', { member_id: id });
    },
  };
}
