/**
 * Gives the routes after it a typed `reach`: the installation for the operator, the own tenant for an owner or admin;
 * everybody else is refused. The operator has no principal, so every route that asks for one refuses the operator.
 */
import { Elysia } from 'elysia';
import type { Reach } from '../../contracts/index.ts';
import { AppError } from '../../kernel/errors.ts';
import { assertMayCall } from '../access.ts';
import { principalOf, stateOf } from '../request-state.ts';

function reachOf(request: Request, route: string): Reach {
  if (stateOf(request).operator) return { kind: 'installation' };
  const principal = principalOf(request);
  assertMayCall(principal, request.method, route);
  return { kind: 'tenant', tenantId: principal.tenantId };
}

export const administered = new Elysia({ name: 'administered' }).resolve({ as: 'scoped' }, ({ request, route }) => ({
  reach: reachOf(request, route),
}));

/** A guard for what only the operator may do; to a tenant there is no such thing, whatever is asked about. */
export function operators({ request }: { request: Request }): void {
  if (!stateOf(request).operator) throw new AppError('not_found', 'There is no such resource.');
}
