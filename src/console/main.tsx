import { render } from 'preact';
import { createClient } from '../client/client.ts';
import { webTokenStore } from '../client/web-token-store.ts';
import { App } from './app.tsx';
import { browserStorage, readLanguage } from './preferences.ts';
import { type DemoLogin, readInvitation } from './views/login.tsx';

const storage = browserStorage();
const client = createClient({
  baseUrl: '',
  store: webTokenStore({ storage, locks: navigator.locks, events: window }),
});

/** Without it the console works as well; only the demo's login is not filled in. */
async function readDemo(): Promise<DemoLogin | null> {
  try {
    const { demo } = (await (await fetch('/console/config')).json()) as { demo: DemoLogin | null };
    return demo;
  } catch {
    return null;
  }
}

const root = document.getElementById('app');
if (root) {
  const invitation = readInvitation(location.hash);
  // The token is in the form now, and stays neither in the address nor in what the browser remembers of it.
  if (invitation) history.replaceState(null, '', location.pathname);
  const demo = client.session.current() ? null : await readDemo();
  render(
    <App
      client={client}
      demo={demo}
      invitation={invitation}
      storage={storage}
      language={readLanguage(storage, navigator.languages)}
    />,
    root,
  );
}
