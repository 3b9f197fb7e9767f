/** Port of access tokens. The adapter over `@elysiajs/jwt` is `http/plugins/jwt.ts`. */
import type { Principal } from './principal.ts';

export interface AccessTokens {
  /** Signs a token that is valid for `ttlSeconds` from now. */
  sign(principal: Omit<Principal, 'expiresAt'>, ttlSeconds: number): Promise<string>;
  /** The principal of a valid token, `null` for anything else: bad signature, expired, wrong issuer, missing claim. */
  verify(token: string): Promise<Principal | null>;
}
