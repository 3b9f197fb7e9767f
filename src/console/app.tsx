/** Who is here decides what is seen: nobody the login, somebody their workspace. */
import { useEffect, useState } from 'preact/hooks';
import type { Client } from '../client/client.ts';
import type { StoredSession } from '../client/session.ts';
import { writeLanguage } from './preferences.ts';
import { type Language, TEXTS } from './texts.ts';
import { TextsContext } from './views/context.ts';
import { type DemoLogin, type InvitationLink, Login } from './views/login.tsx';
import { Shell } from './views/shell.tsx';
import { createWorkspace, type Workspace } from './workspace.ts';

interface AppProps {
  client: Client;
  demo: DemoLogin | null;
  invitation: InvitationLink | null;
  storage: Storage;
  language: Language;
}

export function App({ client, demo, invitation, storage, language: initial }: AppProps) {
  const [language, setLanguage] = useState(initial);
  const [session, setSession] = useState(() => client.session.current());
  const [left, setLeft] = useState<'not' | 'by choice' | 'by end'>('not');
  const texts = TEXTS[language];

  useEffect(() => {
    document.documentElement.lang = texts.code;
  }, [texts]);
  useEffect(
    () =>
      client.session.onChange((next) => {
        setSession(next);
        if (next) setLeft('not');
        else setLeft((before) => (before === 'by choice' ? before : 'by end'));
      }),
    [client],
  );

  const switchLanguage = () => {
    const next = language === 'en' ? 'zh' : 'en';
    setLanguage(next);
    writeLanguage(storage, next);
  };
  const logout = () => {
    setLeft('by choice');
    history.replaceState(null, '', location.pathname);
    // The session ends here even where the server cannot be told.
    client.auth.logout().catch(() => {});
  };

  return (
    <TextsContext.Provider value={texts}>
      {session ? (
        <SignedIn
          key={session.user.id}
          client={client}
          session={session}
          onLanguage={switchLanguage}
          onLogout={logout}
        />
      ) : (
        <>
          <Login
            client={client}
            demo={demo}
            invitation={invitation}
            notice={left === 'by end' ? texts.sessionEnded : null}
          />
          <button
            type="button"
            class="button ghost login-language"
            lang={language === 'en' ? 'zh-CN' : 'en'}
            title={texts.switchLanguage}
            onClick={switchLanguage}
          >
            {texts.otherLanguage}
          </button>
        </>
      )}
    </TextsContext.Provider>
  );
}

interface SignedInProps {
  client: Client;
  session: StoredSession;
  onLanguage(): void;
  onLogout(): void;
}

function SignedIn({ client, session, onLanguage, onLogout }: SignedInProps) {
  const [workspace, setWorkspace] = useState<Workspace | null>(null);
  useEffect(() => {
    const created = createWorkspace(client);
    setWorkspace(created);
    return () => created.dispose();
  }, [client]);
  if (!workspace) return null;
  return (
    <Shell
      workspace={workspace}
      tenant={session.tenant.name}
      email={session.user.email}
      onLanguage={onLanguage}
      onLogout={onLogout}
    />
  );
}
