/** What users set for their own chats. A change counts from the next answer on; a key is never given out again. */
import type { UserConfig, UserConfigChange } from '../contracts/index.ts';
import type { Database } from '../db/database.ts';
import { AppError } from '../kernel/errors.ts';
import type { Sealer } from '../kernel/sealing.ts';
import { canonicalLanguage } from '../kernel/text/language.ts';
import { getUserSettings, putUserSettings, type UserSettings } from '../repositories/user-settings.ts';
import { sealUserKey } from './user-key.ts';

export interface UserSettingsService {
  get(): Promise<UserConfig>;
  /** What is absent stays as it is; null, or nothing but spaces, removes. */
  set(change: UserConfigChange): Promise<UserConfig>;
}

export interface UserSettingsOptions {
  database: Database;
  /** Undefined where there is no secret: keys are refused then. */
  sealer: Sealer | undefined;
}

const NOTHING: UserConfig = {
  default_model: null,
  custom_prompt: null,
  language: null,
  has_openai_api_key: false,
  openai_api_key_last4: null,
  updated_at: null,
};

function toConfig(row: UserSettings | undefined): UserConfig {
  if (!row) return NOTHING;
  const { openai_key, openai_key_last4, updated_at, ...rest } = row;
  return {
    ...rest,
    has_openai_api_key: openai_key !== null,
    openai_api_key_last4: openai_key_last4,
    updated_at: updated_at.toISOString(),
  };
}

function languageOf(tag: string): string {
  const canonical = canonicalLanguage(tag);
  if (canonical !== undefined) return canonical;
  throw new AppError('invalid_request', 'This is not a language.', {
    errors: [{ path: '/language', message: 'Expected a BCP 47 tag of a known language, such as en or zh-CN' }],
  });
}

export function createUserSettings({ database, sealer }: UserSettingsOptions): UserSettingsService {
  function keyColumns(key: string | null) {
    if (key === null) return { openai_key: null, openai_key_last4: null };
    const { sealed, last4 } = sealUserKey(sealer, key);
    return { openai_key: sealed, openai_key_last4: last4 };
  }

  return {
    async get() {
      return toConfig(await database.read(getUserSettings));
    },

    async set({ default_model, openai_api_key, custom_prompt, language }) {
      const tag = language?.trim() || null;
      const change = {
        ...(default_model !== undefined && { default_model: default_model?.trim() || null }),
        ...(custom_prompt !== undefined && { custom_prompt: custom_prompt?.trim() || null }),
        ...(language !== undefined && { language: tag === null ? null : languageOf(tag) }),
        ...(openai_api_key !== undefined && keyColumns(openai_api_key)),
      };
      return database.tenant(async (sql) =>
        toConfig(Object.keys(change).length === 0 ? await getUserSettings(sql) : await putUserSettings(sql, change)),
      );
    },
  };
}
