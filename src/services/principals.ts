/** Who is calling: what a bearer presents, an access token or an API key, as it stands at this moment. */
import type { AccessTokens, Principal } from '../contracts/index.ts';
import type { Ended } from '../realtime/control.ts';
import type { ApiKeys } from './api-keys.ts';
import { looksLikeApiKey } from './credentials.ts';
import type { Identity } from './identity.ts';

export interface Principals {
  /** Null for what is not valid, or no longer. Called in no scope. */
  prove(bearer: string): Promise<Principal | null>;
  /** One that was proven before, as it is now: its role may have changed. Null where it is over. Called in no scope. */
  confirm(principal: Principal): Promise<Principal | null>;
  /** An order to end was heard: what this process believes of who is meant may be older. */
  forget(ended: Ended): void;
}

export interface PrincipalsOptions {
  tokens: Pick<AccessTokens, 'verify'>;
  identity: Pick<Identity, 'confirm' | 'forget'>;
  apiKeys: Pick<ApiKeys, 'prove' | 'confirm' | 'forget'>;
}

export function createPrincipals({ tokens, identity, apiKeys }: PrincipalsOptions): Principals {
  return {
    async prove(bearer) {
      if (looksLikeApiKey(bearer)) return apiKeys.prove(bearer);
      const principal = await tokens.verify(bearer);
      return principal && identity.confirm(principal);
    },
    confirm: (principal) => (principal.scopes === undefined ? identity.confirm(principal) : apiKeys.confirm(principal)),
    forget(ended) {
      identity.forget(ended);
      apiKeys.forget(ended);
    },
  };
}
