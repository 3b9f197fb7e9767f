/** What users set for their own chats: one row a user, of the ambient one. */
import type { Sql } from '../db/database.ts';

export interface UserSettings {
  default_model: string | null;
  custom_prompt: string | null;
  language: string | null;
  /** Sealed. */
  openai_key: Uint8Array | null;
  openai_key_last4: string | null;
  updated_at: Date;
}

const columns = (sql: Sql) => sql`default_model, custom_prompt, language, openai_key, openai_key_last4, updated_at`;

/** Undefined where nothing was ever set. */
export async function getUserSettings(sql: Sql): Promise<UserSettings | undefined> {
  const [row] = await sql<UserSettings[]>`
    select ${columns(sql)} from user_settings
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid`;
  return row;
}

/** Sets what `change` has, null included, and nothing else; `change` has at least one field. */
export async function putUserSettings(
  sql: Sql,
  change: Partial<Omit<UserSettings, 'updated_at'>>,
): Promise<UserSettings> {
  const [row] = await sql<UserSettings[]>`
    insert into user_settings ${sql(change as Record<string, never>)}
    on conflict (tenant_id, user_id) do update set ${sql(change as Record<string, never>)}, updated_at = now()
    returning ${columns(sql)}`;
  if (!row) throw new Error('an insert returned no row');
  return row;
}

/** Puts the same key in its place, sealed anew, unless it was changed since. */
export async function resealUserKey(sql: Sql, key: { before: Uint8Array; now: Uint8Array }): Promise<void> {
  await sql`
    update user_settings set openai_key = ${key.now}
    where tenant_id = current_setting('app.tenant_id')::uuid and user_id = current_setting('app.user_id')::uuid
      and openai_key = ${key.before}`;
}
