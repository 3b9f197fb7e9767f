/** What a person sets for the own chats. The key is typed here and never comes back: only how it ends. */
import { useEffect, useState } from 'preact/hooks';
import type { Client } from '../../client/client.ts';
import type { UserConfig, UserConfigChange } from '../../client/types.ts';
import { describe, type Problem } from '../model/problem.ts';
import { useTexts } from './context.ts';
import { Dialog } from './dialog.tsx';
import { FailureNote } from './failure-note.tsx';

/** Each in its own name; any other tag that is set is offered as it is. */
const LANGUAGES: readonly [string, string][] = [
  ['en', 'English'],
  ['zh-CN', '中文'],
  ['ja', '日本語'],
  ['ko', '한국어'],
  ['de', 'Deutsch'],
  ['fr', 'Français'],
  ['es', 'Español'],
];

interface SettingsProps {
  client: Client;
  onClose(): void;
}

export function SettingsDialog({ client, onClose }: SettingsProps) {
  const [config, setConfig] = useState<UserConfig | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const texts = useTexts();
  const read = () => {
    setProblem(null);
    client.settings.get().then(setConfig, (error: unknown) => setProblem(describe(error)));
  };
  useEffect(read, [client]);
  if (config) return <SettingsForm config={config} client={client} onClose={onClose} />;
  return (
    <Dialog title={texts.settings} action={texts.close} onConfirm={async () => {}} onClose={onClose}>
      {problem ? (
        <FailureNote what={texts.settingsNotRead} problem={problem} onAgain={read} />
      ) : (
        <p class="muted">{texts.loading}</p>
      )}
    </Dialog>
  );
}

function SettingsForm({ config, client, onClose }: SettingsProps & { config: UserConfig }) {
  const texts = useTexts();
  const [wishes, setWishes] = useState(config.custom_prompt ?? '');
  const [language, setLanguage] = useState(config.language ?? '');
  const [model, setModel] = useState(config.default_model ?? '');
  const [key, setKey] = useState('');
  const [removing, setRemoving] = useState(false);
  const languages = LANGUAGES.some(([tag]) => tag === language) || language === '' ? [] : [[language, language]];
  const save = async () => {
    const change: UserConfigChange = {
      custom_prompt: wishes.trim() || null,
      language: language || null,
      default_model: model.trim() || null,
    };
    if (removing) change.openai_api_key = null;
    else if (key.trim() !== '') change.openai_api_key = key.trim();
    await client.settings.set(change);
  };
  return (
    <Dialog title={texts.settings} action={texts.save} onConfirm={save} onClose={onClose}>
      <label class="field">
        <span>{texts.wishes}</span>
        <textarea
          rows={4}
          maxLength={4_000}
          value={wishes}
          placeholder={texts.wishesPlaceholder}
          onInput={(event) => setWishes(event.currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>{texts.answerLanguage}</span>
        <select value={language} onChange={(event) => setLanguage(event.currentTarget.value)}>
          <option value="">{texts.questionLanguage}</option>
          {[...LANGUAGES, ...languages].map(([tag, name]) => (
            <option key={tag} value={tag} lang={tag}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>{texts.model}</span>
        <input
          value={model}
          maxLength={200}
          placeholder={texts.modelDefault}
          spellcheck={false}
          onInput={(event) => setModel(event.currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>{texts.ownKey}</span>
        <input
          type="password"
          value={key}
          maxLength={512}
          disabled={removing}
          autocomplete="off"
          placeholder={config.has_openai_api_key ? texts.keyKept(config.openai_api_key_last4) : texts.keyNone}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        <small>{texts.keyHint}</small>
      </label>
      {config.has_openai_api_key && (
        <label class="check">
          <input type="checkbox" checked={removing} onChange={(event) => setRemoving(event.currentTarget.checked)} />
          {texts.keyRemove}
        </label>
      )}
    </Dialog>
  );
}
