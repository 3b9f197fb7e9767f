/** Who is calling, as proven by a credential. */
export const ROLES = ['owner', 'admin', 'member', 'viewer'] as const;
export type Role = (typeof ROLES)[number];

/** What an API key may be used for, within what its user may do. */
export const SCOPES = ['read', 'write', 'chat', 'admin'] as const;
export type KeyScope = (typeof SCOPES)[number];

export interface Principal {
  tenantId: string;
  userId: string;
  /** As of the moment at which the credential was looked at. */
  role: Role;
  /** What ends it: logging out of the session (refresh-token family), or revoking the API key, of this id. */
  sessionId: string;
  /** When the credential stops being valid, in milliseconds since the epoch. */
  expiresAt: number;
  /** Of an API key. Absent: whatever the role may do. */
  scopes?: readonly KeyScope[];
}
