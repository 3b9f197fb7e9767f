/**
 * Who may do what: the one table. A capability is what a route or a frame asks for (`http/access.ts`, `ws/connection.ts`);
 * a role has it or not, and an API key has it only where one of its scopes gives it too. What depends on whose something
 * is (a document's uploader, an owner among members) is decided by the service that knows.
 */
import type { KeyScope, Principal, Role } from '../contracts/index.ts';
import { AppError } from '../kernel/errors.ts';

export type Capability = 'any' | 'session' | 'read' | 'chat' | 'write' | 'account' | 'manage';

interface Rule {
  roles: readonly Role[];
  /** Null: any key has it. `none`: no key has it. */
  scope: KeyScope | 'none' | null;
}

const EVERYBODY = ['owner', 'admin', 'member', 'viewer'] as const;

const RULES: Readonly<Record<Capability, Rule>> = {
  /** Who one is, and a socket, whose frames are looked at one by one. */
  any: { roles: EVERYBODY, scope: null },
  /** What a key has none of. */
  session: { roles: EVERYBODY, scope: 'none' },
  read: { roles: EVERYBODY, scope: 'read' },
  chat: { roles: EVERYBODY, scope: 'chat' },
  /** Changing what the tenant knows: a viewer only reads and asks. */
  write: { roles: ['owner', 'admin', 'member'], scope: 'write' },
  /** The own keys, the own membership. */
  account: { roles: EVERYBODY, scope: 'admin' },
  /** Running the tenant. */
  manage: { roles: ['owner', 'admin'], scope: 'admin' },
};

/** Whether a principal has a capability now. */
export function may({ role, scopes }: Pick<Principal, 'role' | 'scopes'>, capability: Capability): boolean {
  const rule = RULES[capability];
  if (!rule.roles.includes(role)) return false;
  return scopes === undefined || rule.scope === null || (rule.scope !== 'none' && scopes.includes(rule.scope));
}

/** Throws `forbidden`, saying whether it is the role or the key that does not reach. */
export function assertMay(principal: Pick<Principal, 'role' | 'scopes'>, capability: Capability): void {
  if (may(principal, capability)) return;
  const { role } = principal;
  if (!RULES[capability].roles.includes(role)) throw new AppError('forbidden', `The role ${role} may not do this.`);
  const { scope } = RULES[capability];
  throw new AppError(
    'forbidden',
    scope === 'none' ? 'An API key may not do this.' : `This needs an API key with the scope ${scope}.`,
  );
}
