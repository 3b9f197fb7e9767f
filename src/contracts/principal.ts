/** Who is calling, as proven by a credential. */
export const ROLES = ['owner', 'admin', 'member', 'viewer'] as const;
export type Role = (typeof ROLES)[number];

export interface Principal {
  tenantId: string;
  userId: string;
  role: Role;
  /** The session (refresh-token family) the credential belongs to; logging out ends it. */
  sessionId: string;
  /** When the credential stops being valid, in milliseconds since the epoch. */
  expiresAt: number;
}
