/**
 * Effects of the machines. An actor may be woken by anybody (another tenant's request, a timer, a Redis callback), and
 * JavaScript would carry the waker's scope into what the actor starts. So every effect has its scope in its input and
 * enters it again; there is no other way to make one.
 */
import { fromPromise, type PromiseActorLogic } from 'xstate';
import { runAs, type Scope } from '../src/kernel/context.ts';

export interface Scoped {
  readonly scope: Scope;
}

/** An effect that runs as the scope of its input. Its signal aborts when the machine leaves the state that invoked it. */
export function effect<Input extends Scoped, Output>(
  run: (input: Input, signal: AbortSignal) => Promise<Output>,
): PromiseActorLogic<Output, Input> {
  return fromPromise<Output, Input>(({ input, signal }) => runAs(input.scope, () => run(input, signal)));
}

/** The place of an effect in a machine's `setup`, until `.provide()` supplies it. */
export function unprovided<Input extends Scoped, Output>(name: string): PromiseActorLogic<Output, Input> {
  return fromPromise<Output, Input>(() => Promise.reject(new Error(`the effect ${name} was not provided`)));
}
