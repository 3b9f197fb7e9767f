/** What a role may do, as `beforeHandle` guards. Roles are the token's: a change of role counts from the next refresh on. */
import type { Role } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { principalOf } from '../request-state.ts';

function allow(...roles: Role[]) {
  return ({ request }: { request: Request }): void => {
    const { role } = principalOf(request);
    if (!roles.includes(role)) throw new AppError('forbidden', `The role ${role} may not do this.`);
  };
}

/** Who runs the tenant. */
export const administrators = allow('owner', 'admin');

/** Everybody who may change what the tenant knows: a viewer only reads and asks. */
export const writers = allow('owner', 'admin', 'member');
