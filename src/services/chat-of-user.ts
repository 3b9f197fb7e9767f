/** How one user's questions are answered: with which provider, model, language and wishes. */
import type { ChatProvider } from '../contracts/index.ts';
import type { Database, Sql } from '../db/database.ts';
import { currentScope } from '../kernel/context.ts';
import type { Sealer } from '../kernel/sealing.ts';
import type { OwnKeyChats } from '../llm/own-keys.ts';
import { getUserSettings, resealUserKey, type UserSettings } from '../repositories/user-settings.ts';
import { openUserKey } from './user-key.ts';

export interface ChatOfUser {
  /** Of the installation, or with the user's own key. */
  provider: ChatProvider;
  /** Where a message names none. */
  model?: string;
  customPrompt?: string;
  /** A canonical BCP 47 tag. */
  language?: string;
}

export interface ChatsOfUsersOptions {
  database: Database;
  /** The installation's. */
  provider: ChatProvider;
  ownKeys: OwnKeyChats;
  sealer: Sealer | undefined;
}

export interface ChatsOfUsers {
  /** How questions are answered of whom has set nothing. */
  readonly house: ChatOfUser;
  /** What the ambient user has set, to be read in a transaction that reads other things, too. */
  settings(sql: Sql): Promise<UserSettings | undefined>;
  /** Outside of transactions. Throws `conflict` where the user's own key cannot be opened. */
  of(settings: UserSettings | undefined): Promise<ChatOfUser>;
}

export function createChatsOfUsers({ database, provider, ownKeys, sealer }: ChatsOfUsersOptions): ChatsOfUsers {
  async function providerWith(sealed: Uint8Array): Promise<ChatProvider> {
    const { key, resealed } = openUserKey(sealer, sealed);
    if (resealed) await database.tenant((sql) => resealUserKey(sql, { before: sealed, now: resealed }));
    const { tenantId, userId } = currentScope();
    return ownKeys.with(`${tenantId} ${userId}`, key);
  }

  const house: ChatOfUser = { provider };
  return {
    house,
    settings: getUserSettings,
    async of(settings) {
      if (!settings) return house;
      const { openai_key: sealed, default_model: model, custom_prompt: customPrompt, language } = settings;
      return {
        provider: sealed === null ? provider : await providerWith(sealed),
        ...(model !== null && { model }),
        ...(customPrompt !== null && { customPrompt }),
        ...(language !== null && { language }),
      };
    },
  };
}
