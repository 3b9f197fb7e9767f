/**
 * The ambient scope: whose work is being done. Repositories read it, so no function takes a tenant id and none can be
 * given the wrong one. It is entered only by `runAs`; an effect that may be woken from somebody else's call re-enters
 * its own scope, because JavaScript would otherwise carry the waker's.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { AppError } from './errors.ts';

export interface Scope {
  readonly tenantId: string;
  readonly userId: string;
  readonly traceId: string;
}

const storage = new AsyncLocalStorage<Scope | undefined>();

/** Runs `fn` (and everything it awaits) as the given tenant and user. */
export function runAs<T>(scope: Scope, fn: () => T): T {
  return storage.run(scope, fn);
}

/** Runs `fn` outside every scope: for loops and hub handlers that may be started from inside a request. */
export function runDetached<T>(fn: () => T): T {
  return storage.run(undefined, fn);
}

/** The scope of the running work. Throws `internal` where none was entered: a tenant's data is never touched by accident. */
export function currentScope(): Scope {
  const scope = storage.getStore();
  if (!scope) throw new AppError('internal', 'A tenant scope is needed here and none was entered.');
  return scope;
}

/** The scope if there is one; for logs and errors only, never to decide what may be read. */
export function scopeIfAny(): Scope | undefined {
  return storage.getStore();
}

/** A trace id in W3C form: 32 lower-case hex digits. */
export function newTraceId(): string {
  return crypto.randomUUID().replaceAll('-', '');
}
